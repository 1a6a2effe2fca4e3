"""Each way in which a sign-in can be wrong: a clear page, no session, and no account."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.identity_provider import encoded
from tests.openid_provider import OpenIDProvider
from tests.system.sign_in.conftest import PASSWORD, Site
from tests.system.sign_in.visitor import Visitor

Claims = dict[str, Any]


def without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def replaced(**values: Any) -> Callable[[Claims], Claims]:
    return lambda claims: claims | values


def in_seconds(name: str, seconds: int) -> Callable[[Claims], Claims]:
    """With a claim that is a time, counted from when the claims are made."""
    return lambda claims: claims | {name: int(time.time()) + seconds}


def refused(site: Site, visitor: Visitor, response: requests.Response, status: int, text: str) -> None:
    assert response.status_code == status, response.text
    assert text in response.text
    assert not visitor.is_signed_in
    assert "<script>alert" not in response.text
    assert "form-action 'self'; frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


WRONG_CLAIMS = {
    "another audience": (replaced(aud="other"), "another audience"),
    "no audience": (without("aud"), "no audience"),
    "several audiences without an authorized party": (replaced(aud=["gateway", "other"]), "another client"),
    "another authorized party": (replaced(aud=["gateway", "other"], azp="other"), "another client"),
    "another issuer": (replaced(iss="https://issuer.example"), "another issuer"),
    "expired": (in_seconds("exp", -3_600), "expired"),
    "no end": (without("exp"), "does not expire"),
    "an end that is no number": (replaced(exp="tomorrow"), "not a time"),
    "not valid yet": (in_seconds("nbf", 3_600), "not valid yet"),
    "issued in the future": (in_seconds("iat", 3_600), "in the future"),
    "no time of issue": (without("iat"), "no time of issue"),
    "another nonce": (replaced(nonce="another"), "another sign-in"),
    "no nonce": (without("nonce"), "another sign-in"),
    "no subject": (without("sub"), "no subject"),
    "an empty subject": (replaced(sub=""), "no subject"),
    "a subject that is no text": (replaced(sub=7), "no subject"),
    "a subject with control characters": (replaced(sub="ada\x00"), "no subject"),
}


@pytest.mark.parametrize("wrong", WRONG_CLAIMS)
def test_wrong_claims(site: Site, wrong: str) -> None:
    site.provider.edit, reason = WRONG_CLAIMS[wrong]
    visitor = site.visitor()
    refused(site, visitor, visitor.sign_in("/dashboard/"), 403, reason)


def unsigned(_: OpenIDProvider, claims: Claims) -> str:
    return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims)}."


def by_the_secret(provider: OpenIDProvider, claims: Claims) -> str:
    """HS256 with the published key as the secret."""
    import hmac

    signed = f"{encoded({'alg': 'HS256', 'kid': 'k1'})}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.digest(json.dumps(provider.keys[0]).encode(), signed.encode(), 'sha256'))}"


def tampered(provider: OpenIDProvider, claims: Claims) -> str:
    head, _, signature = provider.signed(claims, "k1").split(".")
    return f"{head}.{encoded(claims | {'groups': ['owners']})}.{signature}"


WRONG_TOKENS: dict[str, Callable[[OpenIDProvider, Claims], str]] = {
    "alg none": unsigned,
    "HS256 with the public key": by_the_secret,
    "changed after it was signed": tampered,
    "a key that is not published": lambda provider, claims: provider.signed(claims, "k2"),
    "the key of another with its id": lambda provider, claims: provider.signed(claims, "k1", name="k9"),
    "critical extensions": lambda provider, claims: provider.signed(claims, "k1", header={"crit": ["exp"]}),
    "a logout token": lambda provider, claims: provider.signed(claims, "k1", header={"typ": "logout+jwt"}),
    "no JWT": lambda _provider, _claims: "opaque",
}


@pytest.mark.parametrize("wrong", WRONG_TOKENS)
def test_wrong_tokens(site: Site, wrong: str) -> None:
    site.provider.sign = lambda claims: WRONG_TOKENS[wrong](site.provider, claims)
    visitor = site.visitor()
    refused(site, visitor, visitor.sign_in("/dashboard/"), 403, "is not valid")


def test_a_state_of_another_browser(site: Site) -> None:
    victim, attacker = site.visitor(), site.visitor()
    callback = attacker.callback()
    refused(site, victim, victim.get(callback, follow=False), 400, "was not begun in this browser")
    assert attacker.get(callback, follow=False).status_code == 302


@pytest.mark.parametrize("change", [("state=", "state=x"), ("state=", "other=")])
def test_another_state(site: Site, change: tuple[str, str]) -> None:
    visitor = site.visitor()
    callback = visitor.callback().replace(*change)
    refused(site, visitor, visitor.get(callback, follow=False), 400, "was not begun in this browser")
    assert "/token" not in [path for path, _ in site.provider.requests]


def test_a_code_of_another_sign_in(site: Site) -> None:
    """Injected into one's own sign-in, it is bound to another verifier (RFC 7636)."""
    victim, attacker = site.visitor(), site.visitor()
    stolen = victim.callback().split("code=")[1].split("&")[0]
    mine = attacker.callback()
    own = mine.split("code=")[1].split("&")[0]
    response = attacker.get(mine.replace(own, stolen), follow=False)
    refused(site, attacker, response, 502, "The provider refused the sign-in.")
    assert "invalid_grant" in response.text
    refused(site, attacker, attacker.get(mine, follow=False), 400, "was not begun in this browser")


def test_a_code_that_is_used_twice(site: Site) -> None:
    visitor = site.visitor()
    callback = visitor.callback()
    code = callback.split("code=")[1].split("&")[0]
    visitor.get(callback, follow=False)
    other = site.visitor()
    mine = other.callback()
    again = mine.replace(mine.split("code=")[1].split("&")[0], code)
    refused(site, other, other.get(again, follow=False), 502, "The provider refused the sign-in.")


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        ("access_denied", "was cancelled", "access_denied"),
        ("server_error", "refused the sign-in", "server_error"),
        ("<script>alert(1)</script>", "refused the sign-in", "unknown"),
    ],
)
def test_an_error_of_the_provider(site: Site, error: str, text: str, code: str) -> None:
    site.provider.authorize_error = error
    visitor = site.visitor()
    response = visitor.sign_in()
    refused(site, visitor, response, 403, text)
    assert f"<code>{code}</code>" in response.text


@pytest.mark.parametrize("iss", ["https://evil.test", ""])
def test_a_response_of_another_provider(site: Site, iss: str) -> None:
    visitor = site.visitor()
    response = visitor.get(f"{visitor.callback()}&iss={iss}", follow=False)
    refused(site, visitor, response, 400, "another provider")
    assert "/token" not in [path for path, _ in site.provider.requests]


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        ((400, {"error": "invalid_client"}), 502, "invalid_client"),
        ((401, {"error": "<b>"}), 502, "status 401"),
        ((200, {"access_token": "a"}), 502, "no ID token"),
        ((200, []), 502, "not a JSON object"),
        ((302, {}), 502, "status 302"),
        ((500, {}), 503, "does not respond"),
    ],
)
def test_a_token_endpoint_that_fails(site: Site, answer: tuple[int, Any], status: int, text: str) -> None:
    """django-allauth 3569: the page said only that something had failed."""
    site.provider.token_error = answer
    visitor = site.visitor()
    refused(site, visitor, visitor.sign_in(), status, text)


def test_a_provider_that_is_away(site: Site) -> None:
    visitor = site.visitor()
    callback = visitor.callback()
    site.provider.is_away = True
    response = visitor.get(callback, follow=False)
    refused(site, visitor, response, 503, "does not respond")
    assert int(response.headers["Retry-After"]) > 0
    assert visitor.log_in(PASSWORD).status_code == 302


def test_a_slow_provider_delays_nobody_else(site: Site) -> None:
    site.provider.gate.clear()
    site.provider.slow_path = "/token"
    visitor = site.visitor()
    callback = visitor.callback()
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(visitor.get, callback, follow=False)
        other = site.visitor()
        assert other.log_in(PASSWORD).status_code == 302
        assert other.get("/dashboard/").status_code == 200
        assert not slow.done()
        site.provider.gate.set()
        assert slow.result().status_code == 302


def test_a_redirect_of_the_token_endpoint_is_not_followed(site: Site) -> None:
    site.provider.token_error = (307, {})
    visitor = site.visitor()
    refused(site, visitor, visitor.sign_in(), 502, "status 307")


def test_an_account_that_is_switched_off(site: Site) -> None:
    site.provider.person = {"sub": "off", "preferred_username": "off", "groups": ["owners"]}
    site.visitor().sign_in()
    import sqlite3

    with sqlite3.connect(site.server.database, timeout=30) as database:
        database.execute("UPDATE auth_user SET is_active = 0 WHERE username = 'off'")
    visitor = site.visitor()
    refused(site, visitor, visitor.sign_in(), 403, "switched off")


def test_too_many_groups_for_a_token(site: Site) -> None:
    """Grafana 36215: members of many groups were refused without a reason."""
    names = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.test"}}}
    site.provider.person = {"sub": "many", "preferred_username": "many", **names}
    visitor = site.visitor()
    refused(site, visitor, visitor.sign_in(), 403, "more groups than the provider puts into a token")


@pytest.mark.parametrize("groups", [{"ops": True}, [["ops"]], 7, [{"name": "ops"}], None, "opsx", ["OPS"]])
def test_groups_of_another_form_give_no_role(site: Site, groups: object) -> None:
    site.provider.person = {"sub": "odd", "preferred_username": "odd", "groups": groups}
    visitor = site.visitor()
    refused(site, visitor, visitor.sign_in(), 403, "none of your groups")


def test_a_single_group_may_be_a_text(site: Site) -> None:
    """Argo CD 22973: a group that was no list was an error."""
    site.provider.person = {"sub": "one", "preferred_username": "one", "groups": "ops"}
    assert site.visitor().sign_in().status_code == 302
    assert site.groups("one") == ["Operator"]


def test_attempts_of_one_address_are_limited(site: Site) -> None:
    visitor = site.visitor()
    callback = "/accounts/provider/callback/?state=x&code=y"
    statuses = [visitor.get(callback, follow=False).status_code for _ in range(50)]
    assert statuses[0] == 400
    assert 429 in statuses  # within two of the counted minutes
