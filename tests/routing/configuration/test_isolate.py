"""What remains of a service whose configuration is faulty."""

from typing import Any

import pytest

from routing.configuration.isolate import decode_each
from routing.router.policy import Auth

GOOD = {"targets": [{"url": "http://a"}]}


def out_of_service(**settings: Any) -> Any:
    """The service with these settings and one fault."""
    (service,) = decode_each({"crm": {**GOOD, "cost_per_call": "x", **settings}}, lambda _: None).services
    assert service.is_out
    return service


@pytest.mark.parametrize(
    ("settings", "auth"),
    [
        ({}, Auth.REQUIRED),
        ({"auth": "none"}, Auth.NONE),
        ({"auth": "optional"}, Auth.OPTIONAL),
        ({"routes": [{"path": "/a", "auth": "optional"}, {"path": "/b"}]}, Auth.OPTIONAL),
        ({"routes": [{"path": "/a", "auth": "none"}]}, Auth.NONE),
        ({"auth": "sometimes"}, Auth.NONE),
        ({"auth": ["none"]}, Auth.NONE),
        ({"routes": "none"}, Auth.REQUIRED),
    ],
)
def test_it_requires_no_more_authentication_than_its_least_protected_route(settings: Any, auth: Auth) -> None:
    assert out_of_service(**settings).policy.auth is auth


def test_it_keeps_its_hosts_and_whether_it_is_enabled() -> None:
    service = out_of_service(hosts=["Crm.example", 7, "a b"], enabled=False)
    assert (service.hosts, service.policy.enabled, service.targets) == (("crm.example",), False, ())


@pytest.mark.parametrize("item", [None, 7, "text", [], {}])
def test_settings_that_are_no_mapping_are_a_fault(item: object) -> None:
    decoded = decode_each({"crm": item, "mail": GOOD}, lambda _: None)
    assert [service.is_out for service in decoded.services] == [True, False]
    assert decoded.invalid == {"crm"}


def test_a_missing_secret_beside_another_fault_is_invalid() -> None:
    headers = {"Authorization": "env:TOKEN"}
    decoded = decode_each({"crm": {**GOOD, "headers": headers}, "mail": {**GOOD, "headers": headers, "auth": 1}}, str)
    assert decoded.invalid == {"mail"}
    decoded = decode_each({"crm": {**GOOD, "headers": headers}}, lambda _: None)
    assert (decoded.invalid, decoded.services[0].is_out) == (frozenset(), True)
