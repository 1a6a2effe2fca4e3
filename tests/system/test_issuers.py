"""Two workers over a real Redis, and a real identity provider: wrong tokens, rotation, outage, live changes."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.identity_provider import AUDIENCE, Provider, encoded, jwk, serving
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend
from tests.system.conftest import UNLIMITED
from tests.system.server import Server

PATH = "/api/v1/plain/x"


class Bench:
    def __init__(self, server: Server, provider: Provider, backend: Backend) -> None:
        self.server = server
        self.provider = provider
        self.backend = backend
        self.sessions = [requests.Session() for _ in range(8)]  # eight connections reach both workers, nearly always

    def get(self, token: str, path: str = PATH, number: int = 0) -> requests.Response:
        session = self.sessions[number % len(self.sessions)]
        return session.get(self.server.address + path, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def statuses(self, token: str, path: str = PATH) -> set[int]:
        """Of both workers."""
        return {self.get(token, path, number).status_code for number in range(len(self.sessions))}

    def apply(self, **settings: Any) -> None:
        issuer = {"issuer": self.provider.issuer, "audience": AUDIENCE, "jwks_uri": None, **settings}
        content = {**_document(self.backend), "issuers": [issuer]}
        self.server.manage("config", "apply", "-", stdin=json.dumps(content))


def _document(backend: Backend) -> dict[str, Any]:
    plain = {"targets": backend.targets, "rate_limit": UNLIMITED, "cache": False}
    cached = {"targets": backend.targets, "rate_limit": UNLIMITED, "cache": {"ttl": 60}}
    signed = {**plain, "identity": {"fields": ["tenant", "email"], "audience": "signed"}}
    return {"version": 1, "services": {"plain": plain, "cached": cached, "signed": signed}}


@pytest.fixture(scope="module")
def bench(shared_redis: RedisServer) -> Iterator[Bench]:
    provider = Provider()
    with Backend({}) as backend, serving(provider):
        environment = {
            "DEBUG": "on",
            "REDIS_PREFIX": "issuers",
            "REDIS_URL": shared_redis.url,
            "RATE_LIMIT": UNLIMITED,
            "ISSUERS": json.dumps([{"issuer": provider.issuer, "audience": AUDIENCE}]),
        }
        with Server("--workers", "2", migrated=True, environment=environment) as server:
            server.manage(
                "config", "apply", "-", "--only", "plain", "--only", "cached", "--only", "signed", stdin=_text(backend)
            )
            bench = Bench(server, provider, backend)
            assert eventually(lambda: bench.statuses(provider.token()) == {200}, 20)
            yield bench


def _text(backend: Backend) -> str:
    return json.dumps(_document(backend))


def test_one_fetch_for_both_workers_and_callers_are_told(bench: Bench) -> None:
    assert bench.provider.key_fetches == 1
    token = bench.provider.token(org_id="acme")
    assert bench.get(token).status_code == 200
    received = bench.backend.requests[-1]
    fields = dict(received.fields)
    assert fields[b"x-gateway-caller"] == f"jwt+{_name(bench.provider)}+acme:ada".encode()
    assert b"authorization" not in fields


def _name(provider: Provider) -> str:
    return provider.issuer.replace(":", "%253A").replace("/", "%2F")


def test_wrong_tokens_are_refused_with_the_reason(bench: Bench) -> None:
    provider = bench.provider
    good = provider.token()
    for token, reason in (
        (provider.token(aud="other"), "another audience"),
        (provider.token(exp=1), "expired"),
        (f"{encoded({'alg': 'none', 'kid': 'k1'})}.{good.split('.')[1]}.", "algorithm"),
        (good[:-20] + "A" * 20, "signature"),
        (provider.token(iss="https://evil.example"), "issuer"),
        ("opaque", "not a JWT"),
    ):
        response = bench.get(token)
        assert response.status_code == 401
        assert response.json()["code"] == "unauthenticated"
        challenge = response.headers["WWW-Authenticate"]
        assert challenge.startswith('Bearer realm="gateway", error="invalid_token", error_description="the token')
        assert reason in challenge
        assert token not in challenge + response.text
    assert bench.server.get(PATH).headers["WWW-Authenticate"] == 'Bearer realm="gateway"'


def test_the_cache_keeps_callers_of_two_tenants_apart(bench: Bench) -> None:
    tokens = [bench.provider.token(org_id="one"), bench.provider.token(org_id="two"), bench.provider.token()]
    found = [bench.get(token, "/api/v1/cached/y").headers["X-Cache"] for token in tokens for _ in range(2)]
    assert found == ["MISS", "HIT"] * 3


def test_unknown_keys_of_a_thousand_tokens_are_one_fetch_and_rotation_is_seen_at_once(bench: Bench) -> None:
    provider = bench.provider
    before = provider.key_fetches
    claims = provider.claims()
    tokens = [provider.signed(claims, f"unknown-{number}", name="k1") for number in range(1_000)]
    provider.keys = [jwk("k1"), jwk("k2", "ES256")]
    with ThreadPoolExecutor(32) as pool:
        statuses = list(pool.map(lambda token: bench_get(bench, token), tokens))
    assert set(statuses) == {401}
    assert provider.key_fetches == before + 1
    rotated = provider.token("k2", "ES256")
    assert bench.statuses(rotated) == {200}


def bench_get(bench: Bench, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(bench.server.address + PATH, headers=headers, timeout=30).status_code


def test_known_keys_serve_while_the_issuer_is_away_also_in_new_workers(bench: Bench) -> None:
    provider = bench.provider
    provider.status = 0
    try:
        assert bench.statuses(provider.token(sub="away")) == {200}
        bench.server.terminate()
        bench.server.wait()
        bench.server.start()
        assert eventually(lambda: bench.statuses(provider.token(sub="away-2")) == {200}, 10)
    finally:
        provider.status = 200


def test_a_change_is_in_force_in_all_workers_within_a_second(bench: Bench) -> None:
    token = bench.provider.token()
    assert bench.statuses(token) == {200}
    bench.apply(services=["cached"])
    assert eventually(lambda: bench.statuses(token) == {403}, 2)
    bench.apply(audience="new")
    assert eventually(lambda: bench.statuses(token) == {401}, 2)
    bench.apply(leeway="0s")
    assert eventually(lambda: bench.statuses(bench.provider.token()) == {200}, 3)


def test_opaque_tokens_are_introspected(bench: Bench) -> None:
    provider = bench.provider
    provider.introspected = {"good-token": {"active": True, "sub": "op", "exp": int(time.time()) + 600}}
    bench.apply(introspection={"url": f"{provider.issuer}/introspect", "client_id": "gw"})
    assert eventually(lambda: bench.statuses("good-token") == {200}, 3)
    assert bench.statuses("bad-token") == {401}
    assert {token for _, token in provider.questions} >= {"good-token", "bad-token"}
    assert len(provider.questions) <= 12


def _close_code(socket: ClientConnection) -> int | None:
    try:
        while True:
            socket.recv(timeout=10)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def test_revoked_tokens_are_refused_by_all_workers_and_their_websockets_end(bench: Bench) -> None:
    provider, server = bench.provider, bench.server
    key = server.manage("apikey", "create", "ops", "--scope", "metrics:write", "--scope", "metrics:read").split()[-1]
    assert eventually(lambda: server.get("/api/revocations", key).ok), "the key is not live"
    revoked, other = provider.token(sub="eve", jti="t1"), provider.token(sub="eve", jti="t2")
    assert bench.statuses(revoked) == bench.statuses(other) == {200}
    uri = f"ws://127.0.0.1:{server.port}/ws/events/"
    with connect(uri, additional_headers={"Authorization": f"Bearer {other}"}) as socket:
        response = server.request("POST", "/api/revocations", key, json={"jti": "t1", "issuer": provider.issuer})
        assert response.status_code == 201
        assert eventually(lambda: bench.statuses(revoked) == {401}, 2)
        assert "revoked" in bench.get(revoked).headers["WWW-Authenticate"]
        assert bench.statuses(other) == {200}
        assert server.request("POST", "/api/revocations", key, json={"subject": "eve"}).status_code == 201
        assert eventually(lambda: bench.statuses(other) == {401}, 2)
        assert _close_code(socket) == 4401
    listed = server.get("/api/revocations", key).json()["revocations"]
    assert [(row["jti"], row["subject"]) for row in listed] == [("", "eve"), ("t1", "")]
    for row in listed:
        assert server.request("DELETE", f"/api/revocations/{row['id']}", key).status_code == 200
    assert eventually(lambda: bench.statuses(revoked) == {200}, 2)
    for body in ({}, {"jti": "a", "subject": "b"}, {"jti": "a", "until": "soon"}, {"jti": 5}, {"x": 1}):
        assert server.request("POST", "/api/revocations", key, json=body).status_code == 400
    assert requests.post(f"{server.address}/api/revocations", json={"jti": "a"}, timeout=30).status_code == 401


def test_backends_verify_who_the_caller_is_also_after_a_rotation(bench: Bench) -> None:
    token = bench.provider.token(org_id="acme", email="ada@example.com", leeway=1)
    assert bench.statuses(token, "/api/v1/signed/z") == {200}
    received = [dict(request.fields) for request in bench.backend.requests if b"/z" in request.line]
    keys = bench.server.get("/.well-known/jwks.json").json()["keys"]
    assert [set(key) for key in keys] == [
        {"kty", "crv", "x", "y", "kid", "use", "alg"}
    ]  # nothing private, one for both
    for fields in received:
        assert fields[b"x-gateway-tenant"] == b"acme"
        assert fields[b"x-gateway-email"] == b"ada@example.com"
        identity = jwt.decode(fields[b"x-gateway-identity"], jwt.PyJWK(keys[0]), ["ES256"], audience="signed")
        assert (identity["idp"], identity["idp_sub"]) == (bench.provider.issuer, "ada")
    bench.server.manage("credentials", "rotate-identity")
    assert len(bench.server.get("/.well-known/jwks.json").json()["keys"]) == 2
    assert bench.statuses(token, "/api/v1/signed/z") == {200}


def test_health_and_the_log_name_the_issuer_and_no_token(bench: Bench) -> None:
    checks = bench.server.get("/health/deep").json()["checks"]
    assert checks[f"signing_keys {bench.provider.issuer}"]["status"] == "ok"
    assert "eyJ" not in bench.server.log
