"""Thresholds of a service in the configuration file."""

from math import inf
from typing import Any

import pytest

from routing.configuration.decode import decode
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError
from routing.router.thresholds import OFF, Thresholds


def thresholds(settings: Any, **service: Any) -> Thresholds:
    own = {} if settings is ... else {"thresholds": settings}
    item = {"targets": [{"url": "http://crm.test"}], **service, **own}
    (decoded,) = decode({"version": 1, "services": {"crm": item}}, lambda _: None)
    return decoded.thresholds


def test_latency_follows_from_the_time_that_the_backend_has() -> None:
    assert thresholds(...) == Thresholds()
    assert thresholds({"error_rate": 0.1}, timeout={"read": "4m"}) == Thresholds(error_rate=0.1, latency=120)
    assert thresholds({"latency": "2s"}, timeout={"read": "4m"}).latency == 2


def test_one_or_all_can_be_off() -> None:
    assert thresholds({"error_rate": None, "latency": None}) == Thresholds(error_rate=inf, latency=inf)
    assert thresholds(False) == OFF
    assert thresholds(True) == thresholds(...)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"error_rate": 5}, ("thresholds", "error_rate")),
        ({"window": "90s"}, ("thresholds",)),
        ({"window": "1h"}, ("thresholds",)),
        ({"minimum_requests": 0}, ("thresholds", "minimum_requests")),
        ({"errors": 0.1}, ("thresholds",)),
        ("off", ("thresholds",)),
    ],
)
def test_faults_name_the_setting(settings: Any, path: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        thresholds(settings)
    (fault,) = raised.value.faults
    assert fault.path == ("services", "crm", *path)


def test_a_route_has_none() -> None:
    with pytest.raises(ConfigurationError, match="unknown key 'thresholds'"):
        thresholds(..., routes=[{"path": "/x", "thresholds": {}}])


@pytest.mark.parametrize("text", ["{error_rate: 0.1, window: 2m}", "false"])
def test_the_canonical_form_keeps_them(text: str) -> None:
    document = f'version: 1\nservices:\n  crm:\n    targets: [{{url: "http://crm.test"}}]\n    thresholds: {text}\n'
    assert f"thresholds: {text}" in dump(parse(document).structure)
