"""Each preset that is shipped is a valid service by itself."""

import json
import re
from typing import Any

import pytest

from routing.configuration.decode import decode_service
from routing.messages.outcome import OutcomeClass
from routing.presets import shipped
from routing.router.credential_policy import GrantType
from routing.router.table import RouteTable

NAMES = ("anthropic", "github", "gmail", "google-calendar", "hubspot", "openai", "salesforce", "slack")


def google(reason: str) -> dict[str, Any]:
    return {"error": {"code": 0, "errors": [{"domain": "global", "reason": reason}]}}


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


GOOGLE_WATCH = "/calendar/v3/calendars/{calendar}/events/watch"


@pytest.mark.parametrize(
    ("name", "path", "status", "document", "outcome"),
    [
        ("google-calendar", GOOGLE_WATCH, 401, google("authError"), OutcomeClass.OURS),
        ("google-calendar", GOOGLE_WATCH, 401, google("push.webhookUrlUnauthorized"), OutcomeClass.CALLERS),
        ("google-calendar", "/*", 401, google("authError"), OutcomeClass.OURS),
        ("google-calendar", "/*", 403, google("rateLimitExceeded"), OutcomeClass.LIMITED),
        ("google-calendar", "/*", 403, google("forbiddenForNonOrganizer"), None),
        ("gmail", "/*", 403, google("userRateLimitExceeded"), OutcomeClass.LIMITED),
        ("gmail", "/*", 403, google("insufficientPermissions"), None),
        ("salesforce", "", 403, [{"errorCode": "INSUFFICIENT_ACCESS"}], None),
        ("salesforce", "", 401, [{"errorCode": "INVALID_SESSION_ID"}], OutcomeClass.OURS),
        ("salesforce", "", 420, None, OutcomeClass.FAILED),
        ("hubspot", "/*", 429, {"policyName": "DAILY"}, OutcomeClass.LIMITED),
        ("hubspot", "/*", 403, {"category": "MISSING_SCOPES"}, None),
        ("hubspot", "/*", 521, None, OutcomeClass.FAILED),
        ("github", "/*", 403, {"message": "Resource not accessible by integration"}, None),
        ("github", "/graphql", 200, {"errors": [{"type": "NOT_FOUND"}]}, None),
        ("openai", "", 429, {"error": {"code": "insufficient_quota"}}, OutcomeClass.OURS),
        ("openai", "", 429, {"error": {"code": "RateLimitReached"}}, OutcomeClass.LIMITED),
        ("openai", "", 400, {"error": {"code": "context_length_exceeded"}}, None),
        ("anthropic", "", 529, {"error": {"type": "overloaded_error"}}, OutcomeClass.FAILED),
        ("anthropic", "", 402, {"error": {"type": "billing_error"}}, OutcomeClass.OURS),
        ("anthropic", "", 403, {"error": {"type": "permission_error"}}, None),
    ],
)
def test_what_an_error_of_the_api_means(
    name: str, path: str, status: int, document: Any, outcome: OutcomeClass | None
) -> None:
    """At the route of this path, or at no route of the preset."""
    own = {"targets": [{"url": "https://acme.my.salesforce.com"}]}
    service = decode_service("any", {"preset": name, **own}, lambda _name: "secret")
    policy = next((route.policy for route in service.routes if route.path == path), service.policy)
    headers = [(b"content-type", b"application/json")] if document is not None else []
    assert policy.outcome is not None
    assert policy.outcome.classify(status, headers, json.dumps(document).encode()) is outcome


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
