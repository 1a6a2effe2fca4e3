"""The section `credential`: parsed, inherited by routes, checked, masked."""

import json
from typing import Any

import pytest

from routing.configuration.decode import decode
from routing.configuration.document import canonical, dump, parse
from routing.configuration.faults import ConfigurationError
from routing.configuration.literals import literal_secrets, mask, unmask
from routing.router.backend_identity import backend_identity
from routing.router.credential_policy import CredentialPolicy, GrantType, Per
from routing.router.table import Service

URL = "https://login.example.com/token"
CLIENT = {
    "grant": "client_credentials",
    "token_url": URL,
    "client_id": "gateway",
    "client_secret": "env:GATEWAY_SECRET_X",
}
REFRESH = {"grant": "refresh_token", "token_url": URL, "client_id": "gateway", "client_secret": "env:GATEWAY_SECRET_X"}
AUTHORIZE = {"authorize_url": "https://login.example.com/authorize"}
ACCOUNT = {
    "type": "service_account",
    "client_email": "robot@project.iam.gserviceaccount.com",
    "private_key": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
    "private_key_id": "k1",
    "token_uri": "https://oauth2.googleapis.com/token",
}


def secret(name: str) -> str | None:
    return {"GATEWAY_SECRET_X": "s3cret", "file:/run/secrets/sa.json": json.dumps(ACCOUNT)}.get(name)


def document(credential: Any, **more: Any) -> dict[str, Any]:
    service = {"targets": [{"url": "http://127.0.0.1:1"}], "credential": credential, **more}
    return {"version": 1, "services": {"crm": service}}


def service(credential: Any, **more: Any) -> Service:
    (found,) = decode(document(credential, **more), secret)
    return found


def policy(oauth2: dict[str, Any], **more: Any) -> CredentialPolicy:
    found = service({"oauth2": oauth2, **more}).policy.credential
    assert found is not None
    return found


def faults(credential: Any, **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        service(credential, **more)
    return str(caught.value)


def test_secrets_are_resolved_and_the_rest_has_defaults() -> None:
    found = policy(CLIENT)
    assert (found.client_secret, found.per, found.header, found.prefix) == (
        "s3cret",
        Per.SERVICE,
        "authorization",
        "Bearer",
    )


def test_a_service_account_gives_key_issuer_and_address() -> None:
    oauth2 = {"grant": "jwt_bearer", "service_account": "file:/run/secrets/sa.json", "subject": "ann@example.com"}
    found = policy(oauth2)
    assert found.grant is GrantType.JWT_BEARER
    assert (found.issuer, found.key_id, found.token_url) == (ACCOUNT["client_email"], "k1", ACCOUNT["token_uri"])
    assert found.private_key == ACCOUNT["private_key"]
    assert found.subject == "ann@example.com"


def test_a_route_may_replace_one_setting_or_have_none() -> None:
    routes = [
        {"path": "/a", "credential": {"oauth2": {"scopes": ["write"]}}},
        {"path": "/b", "credential": False},
        {"path": "/c"},
    ]
    found = [route.policy.credential for route in service({"oauth2": CLIENT}, routes=routes).routes]
    assert found[0] is not None
    assert (found[0].scopes, found[0].client_id) == (("write",), "gateway")
    assert found[1] is None
    assert found[2] is not None
    assert found[2].scopes == ()


def test_a_parameter_may_be_a_reference() -> None:
    found = policy({**CLIENT, "token_params": {"resource": "https://crm", "assertion": "env:GATEWAY_SECRET_X"}})
    assert found.token_params == (("assertion", "s3cret"), ("resource", "https://crm"))


@pytest.mark.parametrize(
    ("oauth2", "more", "message"),
    [
        ({**CLIENT, "token_url": "http://login.example.com/token"}, {}, "must be https"),
        ({**CLIENT, "token_url": "https://user:pass@login.example.com/"}, {}, "no user"),
        ({**CLIENT, "token_url": "https://{tenant}.example.com/"}, {}, "path only"),
        ({**CLIENT, "token_url": "ftp://x/"}, {}, "must be https://host/path"),
        ({**CLIENT, "token_url": "https://x/\nHost: y"}, {}, "control characters"),
        ({**CLIENT, "grant": "password"}, {}, "must be client_credentials"),
        ({key: value for key, value in CLIENT.items() if key != "client_secret"}, {}, "client_secret"),
        ({key: value for key, value in CLIENT.items() if key != "token_url"}, {}, "needs token_url"),
        (CLIENT, {"per": "caller"}, "{caller}"),
        (CLIENT, {"per": "tenant"}, "{tenant}"),
        (REFRESH, {}, "needs refresh_token or authorize_url"),
        (REFRESH, {"per": "caller"}, "authorize_url"),
        ({**REFRESH, **AUTHORIZE, "refresh_token": "env:GATEWAY_SECRET_X"}, {"per": "caller"}, "for one account"),
        ({**CLIENT, **AUTHORIZE}, {}, "grant refresh_token"),
        ({"grant": "jwt_bearer", "token_url": URL}, {}, "service_account"),
        ({"grant": "jwt_bearer", "service_account": "{}"}, {}, "lacks client_email and private_key"),
        ({"grant": "jwt_bearer", "service_account": "not JSON"}, {}, "is not the JSON"),
        ({**CLIENT, "header": "Host"}, {}, "set by the gateway"),
        ({**CLIENT, "header": "Cookie"}, {}, "set by the gateway"),
        ({**CLIENT, "client_secret": "Bearer env:GATEWAY_SECRET_X"}, {}, "stands alone"),
        ({**CLIENT, "client_secret": "env:lower case"}, {}, "env: must be followed"),
        ({**CLIENT, "client_secret": 5}, {}, "must be a string"),
        ({**CLIENT, "sekret": "x"}, {}, "unknown key 'sekret'"),
    ],
)
def test_mistakes_are_told_without_any_secret(oauth2: dict[str, Any], more: dict[str, Any], message: str) -> None:
    text = faults({"oauth2": oauth2, **more})
    assert message in text
    assert "s3cret" not in text


def test_plain_http_is_for_loopback_unless_it_is_allowed() -> None:
    assert policy({**CLIENT, "token_url": "http://127.0.0.1:9000/token"})
    assert policy({**CLIENT, "token_url": "http://login.internal/token", "allow_http": True})


def test_settings_that_contradict_it() -> None:
    section = {"oauth2": CLIENT}
    assert "set in headers too" in faults(section, headers={"Authorization": "env:GATEWAY_SECRET_X"})
    assert "forward_authorization" in faults(section, forward_authorization=True)
    mine = {"oauth2": {**REFRESH, **AUTHORIZE}, "per": "caller"}
    assert "auth: none" in faults(mine, auth="none")
    for scope in ("shared", "tenant"):
        assert "narrow the scope" in faults(mine, cache={"scope": scope})
        assert service({**mine, "shared_cache": True}, cache={"scope": scope})
    theirs = {**mine, "per": "tenant"}
    assert "narrow the scope" in faults(theirs, cache={"scope": "shared"})
    assert service(theirs, cache={"scope": "tenant"})
    assert service(mine, cache=False)


def test_a_missing_secret_is_one_that_may_come_later() -> None:
    with pytest.raises(ConfigurationError) as caught:
        service({"oauth2": {**CLIENT, "client_secret": "env:GATEWAY_SECRET_MISSING"}})
    assert [fault.unresolved for fault in caught.value.faults] == [True]


def test_literal_secrets_are_found_masked_and_restored() -> None:
    account = json.dumps(ACCOUNT)
    oauth2 = {
        "grant": "jwt_bearer",
        "token_url": URL,
        "client_id": "short",
        "client_secret": "abc",
        "refresh_token": "def",
        "private_key": "ghi",
        "service_account": account,
        "token_params": {"client_assertion": "eyJhbGciOi", "resource": "plain", "api_key": "jkl"},
    }
    original = document({"oauth2": oauth2}, routes=[{"path": "/a", "credential": {"oauth2": {"client_secret": "mno"}}}])
    found = [fault.path[-1] for fault in literal_secrets(original)]
    assert sorted(map(str, found)) == sorted(
        [
            "client_secret",
            "refresh_token",
            "private_key",
            "service_account",
            "client_assertion",
            "api_key",
            "client_secret",
        ]
    )
    masked = mask(original, b"key")
    text = dump(masked.structure)
    for value in ("abc", "def", "ghi", "BEGIN", "eyJ", "jkl", "mno"):
        assert value not in text
    assert "plain" in text
    assert "short" in text
    assert unmask(masked.structure, masked.secrets) == original
    assert mask(masked.structure, b"key").structure == masked.structure


@pytest.mark.parametrize(
    "section", ["sk-live-abc", {"oauth2": "sk-live-abc"}, {"oauth2": {"token_params": "sk-live-abc"}}]
)
def test_a_section_of_another_form_is_masked_as_a_whole(section: Any) -> None:
    masked = mask(document(section), b"key")
    assert "sk-live-abc" not in json.dumps(masked.structure)
    assert unmask(masked.structure, masked.secrets) == document(section)


def test_it_survives_a_round_trip_through_text() -> None:
    original = document({"per": "caller", "oauth2": {**REFRESH, **AUTHORIZE, "authorize_params": {"b": "1", "a": "2"}}})
    text = dump(original)
    assert parse(text).structure == canonical(original)
    assert dump(parse(text).structure) == text


def test_what_is_stored_depends_on_the_credential_but_not_on_its_tokens() -> None:
    first, second = service({"oauth2": CLIENT}), service({"oauth2": {**CLIENT, "scopes": ["other"]}})
    assert backend_identity(first, first.policy, b"") != backend_identity(second, second.policy, b"")
    same = service({"oauth2": CLIENT})
    assert backend_identity(first, first.policy, b"") == backend_identity(same, same.policy, b"")
