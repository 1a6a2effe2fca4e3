"""Each preset that is shipped is a valid service by itself."""

import json
import re
from typing import Any

import pytest

from routing.configuration.decode import decode_service
from routing.presets import shipped
from routing.router.credential_policy import GrantType
from routing.router.table import RouteTable

NAMES = ("anthropic", "github", "gmail", "google-calendar", "hubspot", "openai", "salesforce", "slack")


def test_the_shipped_presets_are_listed() -> None:
    assert shipped.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_alone_is_a_valid_service(name: str) -> None:
    own = {"targets": [{"url": "https://acme.my.salesforce.com"}]} if name == "salesforce" else {}
    service = decode_service("any", {"preset": name, **own}, lambda _name: "secret")
    assert all(target.url.startswith("https://") for target in service.targets)
    assert shipped.preset(name).title


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_leaves_it_to_the_api_which_methods_a_path_has(name: str) -> None:
    own = {"targets": [{"url": "https://acme.my.salesforce.com"}]}
    service = decode_service("any", {"preset": name, **own}, lambda _name: "secret")
    table = RouteTable([service])
    for route in shipped.preset(name).service["routes"]:
        path = re.sub(r"\{\w+\}", "a", route["path"]).replace("*", "a")
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            assert table.within(service, method, path.encode())


@pytest.mark.parametrize("name", NAMES)
def test_a_presets_file_is_readable(name: str) -> None:
    """No line is longer than a terminal is wide, and the first line says what it is."""
    lines = shipped.text(name).splitlines()
    assert lines[0].startswith("# ")
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", ["", "slack.yaml", "../slack", "Slack", "none"])
def test_an_unknown_preset_raises_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="there is no preset"):
        shipped.text(name)


CLIENT = {"client_id": "id", "client_secret": "file:/a"}


@pytest.mark.parametrize("preset", ["gmail", "google-calendar"])
@pytest.mark.parametrize(
    ("credential", "grant"),
    [
        ({"oauth2": {"service_account": "file:/a", "subject": "ann@example.com"}}, GrantType.JWT_BEARER),
        ({"per": "caller", "oauth2": {"service_account": "file:/a", "subject": "{caller}"}}, GrantType.JWT_BEARER),
        ({"per": "caller", "oauth2": CLIENT}, GrantType.REFRESH_TOKEN),
        ({"per": "caller", "oauth2": {**CLIENT, "grant": "refresh_token"}}, GrantType.REFRESH_TOKEN),
        ({"oauth2": {**CLIENT, "refresh_token": "file:/a"}}, GrantType.REFRESH_TOKEN),
    ],
)
def test_googles_credential_is_a_service_accounts_or_that_of_connected_accounts(
    preset: str, credential: dict[str, Any], grant: GrantType
) -> None:
    account = json.dumps({"client_email": "a@b", "private_key": "key"})
    found = decode_service("api", {"preset": preset, "credential": credential}, lambda _name: account)
    policy = found.policy.credential
    assert policy is not None
    assert policy.grant is grant
    assert bool(policy.authorize_url) is bool(policy.revoke_url) is (grant is GrantType.REFRESH_TOKEN)
