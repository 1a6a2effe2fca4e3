"""A service's own settings on top of its preset's."""

from typing import Any

import pytest

from routing.configuration.decode import decode_service
from routing.configuration.faults import ConfigurationError
from routing.presets import shipped
from routing.presets.expand import expand
from routing.presets.shipped import Connection, CredentialCheck, ServicePreset

SECRETS = {"TOKEN": "xoxb-1"}.get
PRESET = ServicePreset(
    title="A test API",
    service={
        "targets": [{"url": "https://api.example.com"}],
        "headers": {"X-Version": "1", "Accept": "application/json"},
        "timeout": {"read": "5s", "total": "20s"},
        "cache": {"ttl": 60, "tags": ["all"]},
        "routes": [
            {"path": "/users", "methods": ["GET"], "cache": {"ttl": 300, "tags": ["users"]}},
            {"path": "/{rest}", "cache": False},
        ],
    },
    connect=Connection(name="test", ask=(), settings={}, check=CredentialCheck(path="/"), example="/"),
    credential={"oauth2": {"token_url": "https://api.example.com/token", "grant": "refresh_token"}},
)


@pytest.fixture(autouse=True)
def test_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "names", lambda: ("test",))
    monkeypatch.setattr(shipped, "preset", lambda _name: PRESET)


def expanded(**own: Any) -> Any:
    return expand({"preset": "test", **own})


def test_a_preset_alone_is_a_whole_service() -> None:
    assert expanded() == PRESET.service


def test_settings_without_a_preset_stay_as_they_are() -> None:
    settings = {"targets": [{"url": "http://a"}], "cache": None}
    assert expand(settings) is settings


def test_sections_are_merged_and_values_replaced() -> None:
    found = expanded(timeout={"read": "9s"}, auth="optional", cache=False)
    assert found["timeout"] == {"read": "9s", "total": "20s"}
    assert (found["auth"], found["cache"]) == ("optional", False)


def test_null_removes_a_setting_of_the_preset() -> None:
    found = expanded(timeout=None, cache={"tags": None})
    assert "timeout" not in found
    assert found["cache"] == {"ttl": 60}


def test_header_names_do_not_distinguish_case() -> None:
    headers = expanded(headers={"x-version": "2", "accept": None})["headers"]
    assert headers == {"x-version": "2"}


def test_own_targets_replace_those_of_the_preset() -> None:
    assert expanded(targets=[{"url": "http://own"}])["targets"] == [{"url": "http://own"}]
    assert expanded(targets=[])["targets"] == PRESET.service["targets"]


def test_own_routes_come_first_and_are_merged_with_the_presets_of_the_same_path_and_methods() -> None:
    own = [{"path": "/own"}, {"path": "/users", "methods": ["GET"], "cache": {"ttl": 10}}]
    routes = expanded(routes=own)["routes"]
    assert [route["path"] for route in routes] == ["/own", "/users", "/{rest}"]
    assert routes[1]["cache"] == {"ttl": 10, "tags": ["users"]}


def test_a_route_as_the_database_writes_it_keeps_what_the_preset_sets() -> None:
    row = {"path": "/users", "methods": ["GET"], "invalidates": [], "enabled": True, "idempotency": False}
    assert expanded(routes=[row])["routes"][0]["cache"] == {"ttl": 300, "tags": ["users"]}


def test_the_presets_credential_completes_an_own_one_only() -> None:
    assert "credential" not in expanded()
    found = expanded(credential={"oauth2": {"client_id": "me"}})["credential"]["oauth2"]
    assert found == {"token_url": "https://api.example.com/token", "grant": "refresh_token", "client_id": "me"}


def test_the_preset_is_not_changed() -> None:
    before = str(PRESET)
    expanded(
        timeout={"read": "1s"}, headers={"a": "b"}, routes=[{"path": "/users", "methods": ["GET"], "auth": "none"}]
    )
    assert str(PRESET) == before


@pytest.mark.parametrize("value", ["unknown", 5, ["test"], {"test": 1}, True])
def test_an_unknown_preset_is_the_only_fault(value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        decode_service("a", {"preset": value}, SECRETS)
    (fault,) = caught.value.faults
    assert fault.path == ("preset",)
    assert "must be one of test" in fault.message


@pytest.mark.parametrize("routes", ["x", 5, [5], [{"path": 5}], {"path": "/a"}, [{"path": "/users", "methods": "GET"}]])
def test_faulty_routes_are_reported_as_without_a_preset(routes: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        decode_service("a", {"preset": "test", "routes": routes}, SECRETS)
    assert all(fault.path[0] == "routes" for fault in caught.value.faults)
