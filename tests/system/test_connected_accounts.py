"""Accounts that callers connect, with two workers: links, sessions, disconnection, and what is kept of it."""

import json
import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import requests
from redis import Redis

from tests.origin import Peer
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, ok
from tests.system.conftest import UNLIMITED, Seed
from tests.system.server import Server, document

SECRETS = ("access-", "refresh-", "cl1ent-s3cret", "code-")
PASSWORD = "correct horse battery"


class Provider:
    """An authorization server with rotating refresh tokens, and the API that its tokens open."""

    def __init__(self) -> None:
        self.number = 0
        self.forms: list[dict[str, str]] = []
        self.revoked: list[str] = []
        self.valid: set[str] = set()

    async def token(self, peer: Peer) -> None:
        form = {name: values[0] for name, values in parse_qs((await peer.read_body()).decode()).items()}
        self.forms.append(form)
        known = form["grant_type"] == "authorization_code" or form.get("refresh_token") in self.valid
        if not known:
            body = b'{"error": "invalid_grant"}'
            await peer.send(b"HTTP/1.1 400 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        self.number += 1
        self.valid = {f"access-{self.number}", f"refresh-{self.number}"}
        tokens = {
            "access_token": f"access-{self.number}",
            "refresh_token": f"refresh-{self.number}",
            "expires_in": 3600,
        }
        await peer.send(ok(json.dumps(tokens | {"team": {"name": "Acme"}}).encode()))

    async def revoke(self, peer: Peer) -> None:
        form = dict(parse_qsl((await peer.read_body()).decode()))
        self.revoked.append(form["token"])
        await peer.send(ok())

    async def api(self, peer: Peer) -> None:
        await peer.read_body()
        value = dict(peer.request.fields).get(b"authorization", b"").decode()
        if value.removeprefix("Bearer ") in self.valid:
            await peer.send(ok(json.dumps({"number": self.number}).encode(), b"Cache-Control: max-age=60"))
        else:
            await peer.send(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def backend(provider: Provider) -> Iterator[Backend]:
    with Backend({"/token": provider.token, "/revoke": provider.revoke, "/me": provider.api}) as backend:
        yield backend


@pytest.fixture(scope="module")
def server(seed: Seed, shared_redis: RedisServer, backend: Backend) -> Iterator[Server]:
    environment = {
        "REDIS_URL": shared_redis.url,
        "REDIS_PREFIX": "accounts",
        "DEBUG": "on",
        "GATEWAY_SECRET_CLIENT": "cl1ent-s3cret",
    }
    server = Server("--workers", "2", seed=seed.database, environment=environment)
    base = f"http://127.0.0.1:{backend.port}"
    oauth2 = {
        "grant": "refresh_token",
        "token_url": f"{base}/token",
        "authorize_url": f"{base}/authorize",
        "revoke_url": f"{base}/revoke",
        "authorize_params": {"access_type": "offline"},
        "client_id": "gateway",
        "client_secret": "env:GATEWAY_SECRET_CLIENT",
        "scopes": ["read"],
    }
    common = {"targets": backend.targets, "rate_limit": UNLIMITED}
    services = {
        "mail": {**common, "credential": {"oauth2": oauth2, "per": "caller"}},
        "own": {**common, "credential": {"oauth2": oauth2, "per": "service"}},
        "team": {**common, "credential": {"oauth2": oauth2, "per": "tenant"}},
        "plain": common,
    }
    with server:
        server.manage("config", "apply", "-", "--prune", stdin=document(services))
        code = (
            f"from django.contrib.auth.models import User; User.objects.create_superuser('ann', password='{PASSWORD}')"
        )
        server.manage("shell", "-c", code)
        assert eventually(lambda: server.get("/api/v1/mail/me", seed.ours).status_code == 403)
        yield server


def link(server: Server, key: str, service: str = "mail") -> str:
    response = server.request("POST", f"/connect/{service}/links", key)
    assert response.status_code == 201, response.text
    assert response.headers["Cache-Control"] == "private, no-store"
    return str(response.json()["url"])


def submit(session: requests.Session, page: requests.Response, action: str = "connect") -> requests.Response:
    """Post the page's form, without following the redirect."""
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    url = page.url.partition("?")[0]
    return session.post(url, data={**fields, "action": action}, allow_redirects=False, timeout=30)


def grant(session: requests.Session, redirect: requests.Response, **changes: str) -> requests.Response:
    """What the authorization server does after the person has agreed."""
    query = dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))
    returned = {"code": "code-1", "state": query["state"], **changes}
    return session.get(f"{query['redirect_uri']}?{urlencode(returned)}", timeout=30)


def connect(server: Server, key: str) -> requests.Response:
    with requests.Session() as session:
        return grant(session, submit(session, session.get(link(server, key), timeout=30)))


def log_in(server: Server) -> requests.Session:
    session, page = requests.Session(), f"{server.address}/admin/login/"
    session.get(page, timeout=30)
    form = {"username": "ann", "password": PASSWORD, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
    assert session.post(f"{page}?next=/admin/", data=form, timeout=30).status_code == 200
    return session


def test_a_caller_without_an_account_is_told_where_to_connect_one(server: Server, seed: Seed) -> None:
    response = server.get("/api/v1/mail/me", seed.theirs)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert "/connect/mail/" in response.json()["detail"]


def test_a_person_reads_in_their_language_why_nothing_was_connected(
    server: Server, seed: Seed, provider: Provider
) -> None:
    with requests.Session() as session:
        session.headers["Accept-Language"] = "de"
        asked = len(provider.forms)
        page = session.get(link(server, seed.ours), timeout=30)
        refused = grant(session, submit(session, page), error="access_denied")  # beside a code, which is not used
        assert (refused.status_code, len(provider.forms)) == (400, asked)
        assert "Das Konto wurde nicht verbunden (access_denied)." in refused.text
        assert "schon benutzt. Es hat sich jetzt nichts geändert." in session.get(refused.url, timeout=30).text
        assert "Dieser Link wurde schon benutzt" in session.get(page.url, timeout=30).text


def test_a_key_connects_an_account_by_a_link(server: Server, seed: Seed, provider: Provider) -> None:
    with requests.Session() as session:
        page = session.get(link(server, seed.ours), timeout=30)
        assert page.status_code == 200
        assert "key:" in page.text
        assert "No account is connected" in page.text
        assert "form-action 'self' https:" in page.headers["Content-Security-Policy"]
        redirect = submit(session, page)
        assert redirect.status_code == 303
        query = dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))
        assert query["code_challenge_method"] == "S256"
        assert query["access_type"] == "offline"
        assert query["redirect_uri"] == f"{server.address}/connect/mail/callback"
        done = grant(session, redirect)
        assert (done.status_code, "Acme" in done.text) == (200, True)
    form = provider.forms[-1]
    assert (form["grant_type"], form["code"]) == ("authorization_code", "code-1")
    assert len(form["code_verifier"]) >= 43
    assert eventually(lambda: server.get("/api/v1/mail/me", seed.ours).status_code == 200)
    assert server.get("/api/v1/mail/me", seed.theirs).status_code == 403


def test_a_link_is_used_once_however_many_try(server: Server, seed: Seed) -> None:
    with requests.Session() as session:
        page = session.get(link(server, seed.ours), timeout=30)
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: submit(session, page).status_code, range(8)))
        assert sorted(statuses) == [303] + [404] * 7
        assert session.get(page.url, timeout=30).status_code == 404


def test_a_state_is_for_one_browser_and_one_use(server: Server, seed: Seed, provider: Provider) -> None:
    number = provider.number
    with requests.Session() as session, requests.Session() as stranger:
        redirect = submit(session, session.get(link(server, seed.theirs), timeout=30))
        assert grant(stranger, redirect).status_code == 400
        assert grant(session, redirect).status_code == 400, "a stranger has used it up"
        redirect = submit(session, session.get(link(server, seed.theirs), timeout=30))
        assert grant(session, redirect, state="forged").status_code == 400
        assert grant(session, redirect, code="", error="access_denied").status_code == 400
        assert grant(session, redirect).status_code == 400
    assert provider.number == number
    assert server.get("/api/v1/mail/me", seed.theirs).status_code == 403


def test_two_accounts_are_connected_in_two_tabs_of_one_browser(server: Server, seed: Seed) -> None:
    with requests.Session() as browser:
        first, second = [
            submit(browser, browser.get(link(server, key), timeout=30)) for key in (seed.ours, seed.theirs)
        ]
        assert [grant(browser, redirect).status_code for redirect in (second, first)] == [200, 200]
        page = browser.get(link(server, seed.theirs), timeout=30)
        assert "disconnected" in submit(browser, page, "disconnect").text


def test_forms_are_protected_and_links_need_a_key(server: Server, seed: Seed) -> None:
    url = link(server, seed.ours)
    token = parse_qs(urlsplit(url).query)["link"][0]
    forged = requests.post(f"{server.address}/connect/mail/", data={"link": token, "action": "connect"}, timeout=30)
    assert forged.status_code == 403
    assert server.request("POST", "/connect/mail/links").status_code == 401
    assert server.request("GET", "/connect/mail/links", seed.ours).status_code == 405
    assert server.request("POST", "/connect/plain/links", seed.ours).status_code == 404
    assert server.request("POST", "/connect/nothing/links", seed.ours).status_code == 404
    assert server.request("POST", "/connect/own/links", seed.ours).status_code == 403
    assert server.get("/connect/mail/", allow_redirects=False).status_code == 302
    assert server.get(f"/connect/own/?link={token}").status_code == 404


def test_a_tenants_account_is_connected_by_callers_with_a_scope(server: Server) -> None:
    plain, other = (tenant_key(server, name, "--tenant", name) for name in ("acme", "other"))
    may_connect = tenant_key(server, "admin", "--tenant", "acme", "--scope", "accounts:connect")
    refused = server.request("POST", "/connect/team/links", plain)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert "accounts:connect" in refused.json()["detail"]
    with requests.Session() as session:
        page = session.get(link(server, may_connect, "team"), timeout=30)
        assert "acme" in page.text
        assert grant(session, submit(session, page)).status_code == 200
    assert eventually(lambda: server.get("/api/v1/team/me", plain).status_code == 200)
    assert server.get("/api/v1/team/me", other).status_code == 403


def test_a_link_for_ones_own_account_does_not_become_one_for_the_tenants(server: Server) -> None:
    """The service's setting changes between the link and its use."""
    plain = tenant_key(server, "eve", "--tenant", "acme")
    own = link(server, plain)
    change = (
        "from routing.models import Service; s = Service.objects.get(name='mail'); s.credential['per'] = '{}'; s.save()"
    )
    server.manage("shell", "-c", change.format("tenant"))
    try:
        assert eventually(lambda: {requests.get(own, timeout=30).status_code for _ in range(8)} == {404})
        assert "No account can be connected here." in requests.get(own, timeout=30).text
        assert server.request("POST", "/connect/mail/links", plain).status_code == 403
    finally:
        server.manage("shell", "-c", change.format("caller"))
        assert eventually(lambda: {requests.get(own, timeout=30).status_code for _ in range(8)} == {200})


def tenant_key(server: Server, name: str, *options: str) -> str:
    made = server.manage("apikey", "create", name, "--scope", "team", "--scope", "mail", *options).splitlines()[-1]
    assert eventually(
        lambda: all(server.get("/api/v1/", made).status_code == 200 for _ in range(12))
    )  # in both workers
    return made


def test_staff_connect_and_disconnect_by_session(server: Server, provider: Provider) -> None:
    with log_in(server) as session:
        index = session.get(f"{server.address}/connect/", timeout=30)
        assert index.status_code == 200
        assert "mail" in index.text
        assert "plain" not in index.text
        page = session.get(f"{server.address}/connect/own/", timeout=30)
        assert grant(session, submit(session, page)).status_code == 200
        page = session.get(f"{server.address}/connect/own/", timeout=30)
        assert "Acme" in page.text
        gone = submit(session, page, "disconnect")
        assert gone.status_code == 302
        assert provider.revoked[-1].startswith("refresh-")
        assert "No account is connected" in session.get(f"{server.address}/connect/own/", timeout=30).text


def test_another_account_ends_what_was_cached_of_the_last_one(server: Server, seed: Seed, provider: Provider) -> None:
    def number() -> Any:
        response = server.get("/api/v1/mail/me", seed.ours)
        return response.json().get("number") if response.status_code == 200 else None

    assert connect(server, seed.ours).status_code == 200
    first = provider.number
    assert eventually(lambda: number() == first)
    assert connect(server, seed.ours).status_code == 200
    assert provider.number == first + 1
    assert eventually(lambda: number() == first + 1)
    assert {number() for _ in range(10)} == {first + 1}


def test_nothing_is_kept_or_shown_as_it_is(server: Server, seed: Seed, shared_redis: RedisServer) -> None:
    assert connect(server, seed.ours).status_code == 200
    headers = {"X-Gateway-Debug": "1"}
    response = server.get("/api/v1/mail/me", seed.ours, headers=headers)
    assert response.status_code == 200
    explain = server.request("POST", "/api/explain", seed.reader, json={"path": "/api/v1/mail/me"})
    assert explain.json()["call"]["credential"]["per"] == "caller"
    metrics = server.get("/metrics", seed.reader)
    connection = sqlite3.connect(server.database)
    rows = connection.execute("select count(*) from routing_backendcredential where refresh_token != ''").fetchone()
    assert rows[0] >= 1
    database = "\n".join(connection.iterdump())
    connection.close()
    client = Redis.from_url(shared_redis.url)
    stored = b" ".join([(client.dump(key) or b"") + key for key in client.scan_iter("accounts:*")]).decode("latin-1")
    exported = server.manage("config", "export") + server.manage("config", "history")
    places = {
        "database": database,
        "Redis": stored,
        "log": server.log,
        "export": exported,
        "headers": str(response.headers),
        "explain": explain.text,
        "metrics": metrics.text,
    }
    for place, text in places.items():
        for secret in SECRETS:
            assert re.search(rf"{secret}\d|{secret}$" if secret.endswith("-") else secret, text) is None, (
                place,
                secret,
            )


def test_a_revoked_account_is_told_to_its_caller(server: Server, seed: Seed, provider: Provider) -> None:
    assert connect(server, seed.ours).status_code == 200
    provider.valid = set()
    response = server.get("/api/v1/mail/me?fresh", seed.ours)
    assert (response.status_code, response.json()["code"]) == (502, "credential_failed")
    assert "/connect/mail/" in response.json()["detail"]
    asked = len(provider.forms)
    for _ in range(10):
        assert server.get("/api/v1/mail/me?fresh", seed.ours).status_code == 502
    assert len(provider.forms) == asked
    assert connect(server, seed.ours).status_code == 200
    assert eventually(lambda: server.get("/api/v1/mail/me?fresh", seed.ours).status_code == 200)
