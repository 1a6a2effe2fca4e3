"""Labels of a service in the configuration file."""

from typing import Any

import pytest

from routing.configuration.decode import decode
from routing.configuration.document import dump, parse
from routing.configuration.faults import ConfigurationError


def labels(value: Any) -> tuple[tuple[str, str], ...]:
    item = {"targets": [{"url": "http://crm.test"}], "labels": value}
    (service,) = decode({"version": 1, "services": {"crm": item}}, lambda _: None)
    return service.labels


def test_labels_are_names_and_values() -> None:
    assert labels({"team": "payments", "a.b": "Größe 1"}) == (("a.b", "Größe 1"), ("team", "payments"))
    assert labels(None) == ()


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"Team": "x"}, ("labels", "Team")),
        ({"team": 1}, ("labels", "team")),
        ({"team": ""}, ("labels", "team")),
        ({"team": " x"}, ("labels", "team")),
        ({"team": "x\n"}, ("labels", "team")),
        ({"team": "x" * 64}, ("labels", "team")),
        ({f"n{number}": "x" for number in range(17)}, ("labels",)),
        (["team"], ("labels",)),
    ],
)
def test_faults_name_the_label(value: Any, path: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        labels(value)
    assert [fault.path for fault in raised.value.faults] == [("services", "crm", *path)]


def test_the_canonical_form_keeps_them() -> None:
    document = 'version: 1\nservices:\n  crm:\n    targets: [{url: "http://crm.test"}]\n    labels: {team: a}\n'
    assert "labels: {team: a}" in dump(parse(document).structure)
