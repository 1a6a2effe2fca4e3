"""Back-channel logout: the provider ends sessions, without a browser."""

import asyncio
import contextlib
import time
from typing import Any

import jwt
import requests
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from metrics.dashboard.staff import CLOSE_SESSION_ENDED, RECHECK_SECONDS
from metrics.throttling import FAILED_LOGOUT_RATE
from tests.openid_provider import OpenIDProvider
from tests.system.sign_in.conftest import PASSWORD, Site
from tests.system.sign_in.test_flow import person
from tests.system.sign_in.visitor import Visitor

PATH = "/accounts/provider/logout/"


def send(site: Site, token: str, address: str = "10.9.9.9") -> requests.Response:
    """As the provider does: a form, and neither cookies nor a CSRF token."""
    headers = {"X-Forwarded-For": address}
    return requests.post(f"{site.server.address}{PATH}", data={"logout_token": token}, headers=headers, timeout=30)


def signed_in(site: Site, subject: str, sid: str | None = None) -> Visitor:
    """Somebody in a browser of their own. Their provider may name its sessions. Accounts stay for other tests: no other
    has these names.
    """
    site.provider.person = person(subject, "viewers") | ({} if sid is None else {"sid": sid})
    visitor = site.visitor()
    visitor.sign_in()
    assert visitor.is_signed_in
    return visitor


def test_a_session_at_the_provider_ends_with_its_sessions_here(site: Site) -> None:
    """user_oidc 1183: tokens with a `sid` alone, or none of it, failed."""
    first, same, other = (signed_in(site, "ended-1", sid) for sid in ("a", "a", "b"))
    stranger = signed_in(site, "ended-2", "c")
    response = send(site, site.provider.logout_token(sid="a"))
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response.headers
    assert [visitor.is_signed_in for visitor in (first, same, other, stranger)] == [False, False, True, True]
    assert site.actions(f"provider:a at {site.provider.issuer}") == ["account.session_ended"] * 2
    assert send(site, site.provider.logout_token(sub="ended-1", sid="c")).status_code == 200
    assert stranger.is_signed_in
    assert send(site, site.provider.logout_token(sub="ended-1")).status_code == 200
    assert not other.is_signed_in
    assert send(site, site.provider.logout_token(sub="nobody")).status_code == 200


def test_sessions_that_the_provider_has_not_named_end_with_any_of_their_person(site: Site) -> None:
    """oidctest 204: a `sid` in the logout token, and none in the ID token."""
    unnamed, named, other = signed_in(site, "ended-3"), signed_in(site, "ended-3", "a"), signed_in(site, "ended-4")
    assert send(site, site.provider.logout_token(sub="ended-3", sid="z")).status_code == 200
    assert [visitor.is_signed_in for visitor in (unnamed, named, other)] == [False, True, True]


def test_sessions_with_a_password_stay(site: Site) -> None:
    visitor = site.visitor()
    visitor.log_in(PASSWORD, "olga")
    visitor.post(visitor.post("/accounts/provider/", page="/accounts/", process="connect").headers["Location"])
    assert send(site, site.provider.logout_token(sub="olga")).status_code == 200
    assert visitor.is_signed_in


def test_a_token_ends_sessions_once(site: Site) -> None:
    signed_in(site, "ended-5")
    token = site.provider.logout_token(sub="ended-5")
    assert send(site, token).status_code == 200
    later = signed_in(site, "ended-5")
    response = send(site, token)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert response.headers["Cache-Control"] == "no-store"
    assert later.is_signed_in


def test_tokens_that_are_not_the_providers_end_nothing(site: Site) -> None:
    visitor, provider = signed_in(site, "ended-6", "t"), site.provider
    claims: dict[str, Any] = {"sub": "ended-6"}
    other = OpenIDProvider()
    other.issuer = provider.issuer
    valid = jwt.decode(provider.logout_token(**claims), options={"verify_signature": False})
    header, body, signature = provider.logout_token(**claims).split(".")
    for token in (
        "",
        "x.y.z",
        f"{header}.{body}.{signature[:-8]}{'A' * 8}",
        f"{header}.{body}.",
        jwt.encode(valid, "", "none"),
        jwt.encode(valid, "gateway-client-secret-of-32-bytes!", "HS256", headers={"kid": "k1"}),
        other.signed(valid, "unknown"),
        other.signed(valid, "k1", name="another key"),
        provider.logout_token(**claims, iss="https://evil.test"),
        provider.logout_token(**claims, aud="another client"),
        provider.logout_token(**claims, nonce="n"),
        provider.logout_token(**claims, events=None),
        provider.logout_token(**claims, jti=None),
        provider.logout_token(**claims, exp=int(time.time()) - 90),
        provider.logout_token(header={"typ": "at+jwt"}, **claims),
        provider.signed(provider.claims(aud="gateway", nonce="n", sub="ended-6"), "k1"),
    ):
        response = send(site, token)
        assert response.status_code == 400, token
        assert response.json()["error"] == "invalid_request"
    assert token not in site.server.log
    assert visitor.is_signed_in
    assert requests.get(f"{site.server.address}{PATH}", timeout=30).status_code == 405
    twice = {"logout_token": [provider.logout_token(**claims)] * 2}
    assert requests.post(f"{site.server.address}{PATH}", data=twice, timeout=30).status_code == 400


def test_bad_tokens_are_limited_by_address_and_good_ones_are_not(site: Site) -> None:
    """Counts begin anew each minute, which may pass once meanwhile."""
    limit = int(FAILED_LOGOUT_RATE.partition("/")[0])
    assert any(send(site, "bad", "10.7.7.7").status_code == 429 for _ in range(2 * limit + 2))
    good = [send(site, site.provider.logout_token(sub="nobody"), "10.7.7.8").status_code for _ in range(3)]
    assert good == [200] * 3


async def test_the_dashboards_sockets_close(site: Site) -> None:
    visitor = await asyncio.to_thread(signed_in, site, "ended-7", "w")
    cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.session.cookies)
    address = site.server.address.replace("http", "ws") + "/ws/dashboard/"
    headers: Any = {"Cookie": cookie, "Origin": site.server.address}
    async with connect(address, additional_headers=headers) as socket:
        await socket.recv()
        response = await asyncio.to_thread(send, site, site.provider.logout_token(sid="w"))
        assert response.status_code == 200
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(RECHECK_SECONDS * 4):
                while True:
                    await socket.recv()
    assert socket.close_code == CLOSE_SESSION_ENDED
