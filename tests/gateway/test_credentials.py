"""Credentials for backends: obtained once, shared, refreshed, replaced when refused, and never shown."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request

from resilience.cache.policy import CachePolicy, Scope
from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.caller import Caller
from routing.configuration.decode import decode_service
from routing.credentials.connections import Connections
from routing.credentials.grants import Subject
from routing.credentials.holder import seed_digest
from routing.credentials.vault import GrantName, StoredGrant, VaultUnavailable
from routing.http import Request as GatewayRequest
from routing.messages import request_body
from routing.messages.bodies import drain
from routing.observability.events import BackendEventKind
from routing.realtime.close_codes import CloseCode
from routing.router.credential_policy import CredentialPolicy, GrantType, Per
from routing.router.policy import Auth, Fallback, RoutePolicy, Target
from routing.router.table import Service
from tests.clock import FakeClock
from tests.gateway.backend_limits import SLACK
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.token_server import GuardedBackend, TokenServer
from tests.gateway.websocket_world import closed_with, greet, socket_to, websocket_world
from tests.origin import Peer, ScriptedOrigin
from tests.resilience.waiting import until

PATH = "/api/v1/crm/x"


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    async with TokenServer() as server:
        yield server


@pytest.fixture
async def memory() -> AsyncIterator[World]:
    world = make_world("asgi")
    yield world
    await world.close()


def credential(server: TokenServer, **more: Any) -> CredentialPolicy:
    settings = {"grant": GrantType.CLIENT_CREDENTIALS, "client_id": "gateway", "client_secret": "s3cret"}
    return CredentialPolicy(**{"token_url": server.url, **settings, **more})


def policy(server: TokenServer, *, route: dict[str, Any] | None = None, **more: Any) -> RoutePolicy:
    return RoutePolicy(**{"timeout": QUICK, "cache": None, "credential": credential(server, **more), **(route or {})})


async def guard(world: World, server: TokenServer, **more: Any) -> GuardedBackend:
    backend = GuardedBackend()
    await world.serve(backend, policy=policy(server, **more))
    return backend


async def test_a_call_carries_a_token_that_is_obtained_once(world: World, tokens: TokenServer) -> None:
    backend = await guard(world, tokens, scopes=("read", "write"))
    for _ in range(3):
        response = await world.request("GET", PATH)
        assert (response.status, response.body) == (200, b"Bearer token-1")
    assert tokens.grants == [{"grant_type": "client_credentials", "scope": "read write", "basic": "gateway:s3cret"}]
    assert backend.tokens == ["Bearer token-1"] * 3


async def test_the_clients_own_authorization_stays_at_the_gateway(world: World, tokens: TokenServer) -> None:
    backend = await guard(world, tokens)
    response = await world.request("GET", PATH, [("Authorization", f"Bearer {world.key}")], key="")
    assert response.status == 200
    assert backend.tokens == ["Bearer token-1"]
    assert len([name for name in backend.received[0] if name == b"authorization"]) == 1


async def test_another_header_and_no_scheme(memory: World, tokens: TokenServer) -> None:
    backend = await guard(memory, tokens, header="x-access-token", prefix="")
    await memory.request("GET", PATH, [("X_Access_Token", "forged"), ("X-Access-Token", "forged")])
    fields = backend.received[0]
    assert fields[b"x-access-token"] == b"token-1"
    assert b"x_access_token" not in fields


async def test_requests_at_the_end_of_a_token_cause_one_refresh(memory: World, tokens: TokenServer) -> None:
    backend = await guard(memory, tokens)
    await memory.request("GET", PATH)
    memory.clock.advance(3_601)
    responses = await asyncio.gather(*[memory.request("GET", PATH) for _ in range(80)])
    assert Counter(response.status for response in responses) == {200: 80}
    assert len(tokens.grants) == 2
    assert set(backend.tokens[1:]) == {"Bearer token-2"}


async def test_a_thousand_that_need_a_token_at_once_cause_one_request(memory: World, tokens: TokenServer) -> None:
    used = credential(tokens)
    holders = [memory.credentials.of("crm", used, None) for _ in range(1_000)]
    await asyncio.gather(*map(memory.credentials.use, holders))
    assert {holder.field for holder in holders} == {(b"authorization", b"Bearer token-1")}
    assert len(tokens.grants) == 1


async def test_a_token_that_ends_soon_is_refreshed_while_it_is_still_used(memory: World, tokens: TokenServer) -> None:
    await guard(memory, tokens)
    released = asyncio.Event()
    await memory.request("GET", PATH)
    tokens.hold = released.wait  # type: ignore[assignment]
    memory.clock.advance(3_600 - 10)
    for _ in range(3):
        assert (await memory.request("GET", PATH)).body == b"Bearer token-1"
    released.set()
    await memory.credentials.close()
    assert (await memory.request("GET", PATH)).body == b"Bearer token-2"
    assert len(tokens.grants) == 2


async def test_an_idle_credential_is_not_refreshed(memory: World, tokens: TokenServer) -> None:
    await guard(memory, tokens)
    await memory.request("GET", PATH)
    memory.clock.advance(4_000)
    running = asyncio.create_task(memory.credentials.run())
    await asyncio.sleep(0)
    running.cancel()
    assert len(tokens.grants) == 1


@pytest.mark.parametrize("expires_in", [0, -5, "3600", "soon", None, 10**30, True, [], {}, "nan", "inf"])
async def test_a_lifetime_that_lies_causes_no_storm(memory: World, tokens: TokenServer, expires_in: object) -> None:
    tokens.expires_in = expires_in
    await guard(memory, tokens)
    for _ in range(5):
        assert (await memory.request("GET", PATH)).status == 200
    assert len(tokens.grants) == 1


def html(size: int = 20) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % size + b"<" * size


BAD = {
    "HTML": html(),
    "huge": html(10_000_000),
    "server error": b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n",
    "redirect": b"HTTP/1.1 302 No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"SSH-2.0-x\r\n",
    "no token": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "deep JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n" + b"[" * 6_000,
    "not UTF-8": b'HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{"access_token":"\xff\xfeab"',
    "header injection": b'HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{"access_token":"a\\r\\nb: c"}',
    "not ok": b'HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{"ok":false,"error":"invalid_refresh_token"} ',
}


@pytest.mark.parametrize("name", BAD)
async def test_an_endpoint_without_a_usable_answer_is_tried_once_per_backoff(
    memory: World, tokens: TokenServer, name: str
) -> None:
    tokens.raw = BAD[name]
    backend = await guard(memory, tokens)
    responses = [await memory.request("GET", PATH) for _ in range(5)]
    for response in responses:
        assert response.status == 502
        assert response.json()["code"] == "credential_failed"
        assert response.json()["service"] == "crm"
        assert int(response.get("retry-after") or 0) >= 1
        assert "127.0.0.1" not in response.body.decode()
    assert (len(tokens.grants), len(backend.received)) == (1, 0)
    memory.clock.advance(3_700)
    tokens.raw = None
    assert (await memory.request("GET", PATH)).status == 200
    assert len(tokens.grants) == 2


async def test_an_endpoint_that_hangs_has_a_time_limit_of_its_own(memory: World, tokens: TokenServer) -> None:
    forever = asyncio.Event()
    tokens.hold = forever.wait  # type: ignore[assignment]
    await guard(memory, tokens)
    response = await memory.request("GET", PATH)
    assert (response.status, response.json()["code"]) == (502, "credential_failed")
    forever.set()


async def test_backoffs_grow_and_a_refused_grant_is_not_tried_for_long(memory: World, tokens: TokenServer) -> None:
    tokens.status, tokens.answer = 400, lambda _form: {"error": "invalid_grant", "error_description": "secret words"}
    await guard(memory, tokens)
    tried = []
    for _ in range(200):
        response = await memory.request("GET", PATH)
        assert response.json()["code"] == "credential_failed"
        assert "secret words" not in response.body.decode()
        tried.append(len(tokens.grants))
        memory.clock.advance(60)
    assert tried[-1] <= 9
    failed = [event for event in memory.observer.events if event.kind is BackendEventKind.CREDENTIAL_FAILED]
    assert len(failed) == tried[-1]
    assert {event.detail for event in failed} == {"invalid_grant"}


async def test_a_token_in_use_outlives_an_outage_of_its_endpoint(memory: World, tokens: TokenServer) -> None:
    await guard(memory, tokens)
    await memory.request("GET", PATH)
    tokens.raw = BAD["server error"]
    memory.clock.advance(3_595)
    for _ in range(3):
        assert (await memory.request("GET", PATH)).body == b"Bearer token-1"
        await memory.credentials.close()
    assert len(tokens.grants) == 2
    memory.clock.advance(6)
    response = await memory.request("GET", PATH)
    assert (response.status, response.json()["code"]) == (502, "credential_failed")
    assert len(tokens.grants) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_token_is_replaced_once_and_the_request_repeated(
    world: World, tokens: TokenServer, method: str
) -> None:
    backend = await guard(world, tokens)
    await world.request("GET", PATH)
    backend.accepted = {"token-2"}
    body = {"body": [b"hello ", b"world"]} if method == "POST" else {}
    response = await world.request(method, PATH, **body)
    assert (response.status, response.body) == (200, b"Bearer token-2")
    assert backend.tokens == ["Bearer token-1", "Bearer token-1", "Bearer token-2"]
    assert len(tokens.grants) == 2
    if method == "POST":
        assert backend.bodies[-2:] == [b"hello world"] * 2


async def test_a_response_that_is_classed_as_a_rejected_credential_replaces_it(
    memory: World, tokens: TokenServer
) -> None:
    """As Slack answers: 200 with `ok: false`."""
    refused, received = {"Bearer token-1"}, list[str]()

    async def backend(peer: Peer) -> None:
        await peer.read_body()
        received.append(dict(peer.request.fields)[b"authorization"].decode())
        body = b'{"ok":false,"error":"token_expired"}' if received[-1] in refused else b'{"ok":true}'
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        await peer.send(head + body)

    settings = {"targets": [{"url": "http://any"}], "outcome": SLACK}
    rejected = decode_service("slack", settings, lambda _name: "").policy.outcome
    await memory.serve(backend, policy=policy(tokens, route={"outcome": rejected}))
    response = await memory.request("POST", PATH, body=[b"channel=C1"])
    assert response.json() == {"ok": True}
    assert received == ["Bearer token-1", "Bearer token-2"]
    refused |= {"Bearer token-2", "Bearer token-3"}
    for _ in range(3):
        assert (await memory.request("POST", PATH, body=[b"channel=C1"])).json()["error"] == "token_expired"
    assert len(tokens.grants) == 3


async def test_a_warmed_response_is_fetched_with_its_callers_credential(memory: World, tokens: TokenServer) -> None:
    route = {"cache": CachePolicy(ttl=100)}
    await memory.serve(GuardedBackend(), policy=policy(tokens, per=Per.CALLER, audience="{caller}", route=route))
    caller = Caller("key:ann", scopes=frozenset({"*"}))
    request = GatewayRequest(
        "GET", PATH.encode(), b"", [(b"host", b"gateway.test")], "127.0.0.1", "http", caller=caller
    )
    response = await memory.gateway.refetch(request)
    await drain(response)
    assert response.status == 200
    assert [grant["audience"] for grant in tokens.grants] == ["key:ann"]


async def test_many_requests_with_one_refused_token_cause_one_refresh(memory: World, tokens: TokenServer) -> None:
    backend = await guard(memory, tokens)
    await memory.request("GET", PATH)
    backend.accepted = {"token-2"}
    responses = await asyncio.gather(*[memory.request("GET", PATH) for _ in range(80)])
    assert Counter(response.status for response in responses) == {200: 80}
    assert len(tokens.grants) == 2


async def test_a_backend_that_refuses_every_token_causes_no_loop(memory: World, tokens: TokenServer) -> None:
    backend = await guard(memory, tokens)
    backend.accepted = set()
    for _ in range(10):
        response = await memory.request("GET", PATH)
        assert (response.status, response.body) == (401, b"nope")
    assert len(tokens.grants) == 2
    assert len(backend.received) == 11
    memory.clock.advance(61)
    backend.accepted = {"token-3"}
    assert (await memory.request("GET", PATH)).status == 200


async def test_an_endpoint_that_returns_the_refused_token_again_is_not_asked_for_each_request(
    memory: World, tokens: TokenServer
) -> None:
    """Some return one token until it ends, such as Salesforce's."""
    tokens.answer = lambda _form: {"access_token": "same", "expires_in": 3600}
    backend = await guard(memory, tokens)
    backend.accepted = set()
    for _ in range(10):
        assert (await memory.request("GET", PATH)).status == 401
    assert Counter([(await memory.request("GET", PATH)).status for _ in range(5)]) == {401: 5}
    assert (len(tokens.grants), len(backend.received)) == (2, 15)
    (status,) = memory.vault.statuses.values()
    assert status.failure == "refused_by_service"
    memory.clock.advance(61)
    await memory.request("GET", PATH)
    assert len(tokens.grants) == 3
    backend.accepted = {"same"}
    assert (await memory.request("GET", PATH)).status == 200


async def test_a_body_that_cannot_be_sent_again_is_not(
    memory: World, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_body, "REPLAY_BUFFER_BYTES", 100)
    backend = await guard(memory, tokens)
    await memory.request("GET", PATH)
    backend.accepted = {"token-2"}
    response = await memory.request("POST", PATH, body=[b"x" * 100] * 9)
    assert (response.status, response.body) == (401, b"nope")
    assert (await memory.request("POST", PATH, body=[b"x" * 10])).body == b"Bearer token-2"
    assert len(tokens.grants) == 2


async def test_a_failing_refresh_after_a_refusal_is_told_as_such(memory: World, tokens: TokenServer) -> None:
    backend = await guard(memory, tokens)
    await memory.request("GET", PATH)
    backend.accepted, tokens.raw = set(), BAD["server error"]
    response = await memory.request("GET", PATH)
    assert (response.status, response.json()["code"]) == (502, "credential_failed")
    assert (await memory.request("GET", PATH)).status == 502
    assert len(tokens.grants) == 2


async def test_a_stale_response_stands_in_for_a_credential_that_cannot_be_had(
    memory: World, tokens: TokenServer
) -> None:
    cache = CachePolicy(ttl=10, stale_if_error=100_000)
    backend = GuardedBackend()
    await memory.serve(backend, policy=policy(tokens, route={"cache": cache}))
    assert (await memory.request("GET", PATH)).body == b"Bearer token-1"
    assert (await memory.request("GET", PATH)).get("x-cache") == "HIT"
    tokens.raw = BAD["server error"]
    memory.clock.advance(4_000)
    for _ in range(3):
        response = await memory.request("GET", PATH)
        assert (response.status, response.get("x-cache")) == (200, "STALE")
    assert len(tokens.grants) == 2


async def test_the_cache_key_is_the_same_after_a_refresh(memory: World, tokens: TokenServer) -> None:
    await memory.serve(GuardedBackend(), policy=policy(tokens, route={"cache": CachePolicy(ttl=100_000)}))
    await memory.request("GET", PATH)
    memory.clock.advance(3_601)
    await memory.request("GET", "/api/v1/crm/other")
    assert (await memory.request("GET", PATH)).get("x-cache") == "HIT"
    assert len(tokens.grants) == 2


async def test_a_fallback_service_has_its_own_credential(memory: World, tokens: TokenServer) -> None:
    broken = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    async with TokenServer(lambda _form: {"access_token": "other"}) as others:
        other = GuardedBackend()
        await memory.serve(other, name="replica", policy=policy(others))
        fallback = Fallback(service="replica", has_response=False)
        origin = await memory.serve(broken, policy=policy(tokens, route={"fallback": fallback}))
        response = await memory.request("GET", PATH)
        assert (response.status, response.body) == (200, b"Bearer other")
        assert dict(origin.requests[0].fields)[b"authorization"] == b"Bearer token-1"
        others.raw = BAD["server error"]
        memory.clock.advance(3_700)
        assert (await memory.request("GET", PATH)).status == 500


async def test_each_caller_and_each_tenant_has_its_own(memory: World, tokens: TokenServer) -> None:
    backend = await guard(memory, tokens, per=Per.CALLER, audience="{caller}")
    assert (await memory.request("GET", PATH)).body == b"Bearer token-1"
    assert (await memory.request("GET", PATH)).body == b"Bearer token-1"
    assert (await memory.request("GET", PATH, key=tenant_key(memory))).body == b"Bearer token-2"
    assert (await memory.request("GET", PATH)).body == b"Bearer token-1"
    audiences = [grant["audience"] for grant in tokens.grants]
    assert len(set(audiences)) == 2
    assert all(audience.startswith("key:") for audience in audiences)
    assert len(backend.received) == 4


def tenant_key(world: World) -> str:
    """A third key, of the tenant `acme`."""
    made = generate_api_key()
    record = KeyRecord(prefix=made.prefix, digest=made.digest, name="acme's", scopes=frozenset({"*"}), tenant="acme")
    world.live.keys = ApiKeys([record, *world.live.keys.records])
    return made.key


async def test_a_tenant_shares_its_credential_and_its_name_is_encoded(memory: World) -> None:
    async with TokenServer() as tokens:
        key = tenant_key(memory)
        await guard(memory, tokens, per=Per.TENANT, token_url=tokens.url + "/{tenant}")
        for _ in range(2):
            assert (await memory.request("GET", PATH, key=key)).status == 200
        assert tokens.lines == [b"POST /oauth/token/acme HTTP/1.1"]


async def test_callers_without_a_tenant_have_no_tenants_credential(memory: World, tokens: TokenServer) -> None:
    await guard(memory, tokens, per=Per.TENANT, audience="{tenant}")
    response = await memory.request("GET", PATH)
    assert (response.status, response.json()["code"]) == (403, "forbidden")
    assert tokens.grants == []


async def test_anonymous_callers_have_no_callers_credential(memory: World, tokens: TokenServer) -> None:
    await guard(memory, tokens, per=Per.CALLER, audience="{caller}", route={"auth": Auth.OPTIONAL})
    assert (await memory.request("GET", PATH, key="")).status == 403


async def test_a_rotated_refresh_token_is_stored_before_the_access_token_is_used(
    memory: World, tokens: TokenServer
) -> None:
    tokens.rotates = True
    stored_at_use: list[int] = []

    async def backend(peer: Peer) -> None:
        stored_at_use.append(len(memory.vault.tokens))
        await peer.read_body()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    await memory.serve(backend, policy=policy(tokens, grant=GrantType.REFRESH_TOKEN, refresh_token="first"))
    for _ in range(3):
        assert (await memory.request("GET", PATH)).status == 200
        memory.clock.advance(3_601)
    assert [grant["refresh_token"] for grant in tokens.grants] == ["first", "refresh-1", "refresh-2"]
    assert stored_at_use == [1, 1, 1]
    assert b"refresh-" not in b"".join(memory.vault.tokens.values())


async def test_an_access_token_waits_until_its_refresh_token_is_stored(
    memory: World, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_name: GrantName, _value: bytes) -> None:
        raise VaultUnavailable("away")

    tokens.rotates = True
    backend = await guard(memory, tokens, grant=GrantType.REFRESH_TOKEN, refresh_token="first")
    with monkeypatch.context() as patch:
        patch.setattr(memory.vault, "save", fail)
        for _ in range(2):
            response = await memory.request("GET", PATH)
            assert (response.status, response.json()["code"]) == (502, "credential_failed")
        assert (len(tokens.grants), backend.received) == (1, [])
    memory.clock.advance(10)
    assert (await memory.request("GET", PATH)).body == b"Bearer token-1"
    assert len(tokens.grants) == 1
    memory.clock.advance(3_601)
    assert (await memory.request("GET", PATH)).status == 200
    assert [grant["refresh_token"] for grant in tokens.grants] == ["first", "refresh-1"]


async def test_a_refresh_token_that_another_worker_has_rotated_is_not_given_up(
    memory: World, tokens: TokenServer
) -> None:
    """Workers that do not share a Redis may use one refresh token at once: one of them gets invalid_grant."""
    used = credential(tokens, grant=GrantType.REFRESH_TOKEN, refresh_token="first")
    await memory.serve(GuardedBackend(), policy=RoutePolicy(timeout=QUICK, cache=None, credential=used))
    refresher = memory.credentials._refresher
    holder = memory.credentials.of("crm", used, None)

    async def rotate() -> None:
        if len(tokens.grants) == 1:
            await refresher.save(holder.grant, StoredGrant("second", seed_digest(used, b"")))

    tokens.hold = rotate
    tokens.answer = lambda form: tokens.issue(form) if form["refresh_token"] == "second" else {"error": "invalid_grant"}
    assert (await memory.request("GET", PATH)).status == 200
    assert [grant["refresh_token"] for grant in tokens.grants] == ["first", "second"]


async def test_routes_with_one_refresh_token_do_not_use_it_at_once(memory: World, tokens: TokenServer) -> None:
    running, most = 0, 0

    async def count() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1

    tokens.rotates, tokens.hold = True, count
    settings = {"grant": GrantType.REFRESH_TOKEN, "refresh_token": "first"}
    policies = [credential(tokens, **settings), credential(tokens, **settings, scopes=("write",))]
    holders = [memory.credentials.of("crm", used, None) for used in policies]
    await asyncio.gather(*map(memory.credentials.use, holders))
    assert [grant["refresh_token"] for grant in tokens.grants] == ["first", "refresh-1"]
    assert most == 1


def connected_accounts(world: World, server: TokenServer) -> tuple[Connections, CredentialPolicy, Service]:
    """The accounts of a service `mail`, whose tokens are revoked where they come from."""
    urls = {"authorize_url": "https://login.example.com/authorize", "revoke_url": server.url}
    used = credential(server, grant=GrantType.REFRESH_TOKEN, **urls)
    refresher, cipher = world.credentials._refresher, world.credentials._shared._cipher
    connections = Connections(
        world.credentials, refresher, refresher._endpoint, cipher, invalidate=world.cache.invalidate
    )
    return connections, used, Service("mail", (Target("http://127.0.0.1:1"),), policy=RoutePolicy(credential=used))


async def test_a_token_that_cannot_be_decrypted_is_not_told_to_be_revoked(memory: World, tokens: TokenServer) -> None:
    connections, used, service = connected_accounts(memory, tokens)
    name = memory.credentials.of("mail", used, None).grant
    assert await connections.disconnect(service, Subject("service"))  # there is none
    await memory.vault.save(name, b"encrypted with a key that is gone")
    assert not await connections.disconnect(service, Subject("service"))
    assert not tokens.grants
    await memory.credentials._refresher.save(name, StoredGrant("refresh"))
    assert await connections.disconnect(service, Subject("service"))
    assert [form["token"] for form in tokens.grants] == ["refresh"]


async def test_a_refresh_that_runs_while_an_account_is_connected_does_not_replace_it(
    memory: World, tokens: TokenServer
) -> None:
    connections, used, service = connected_accounts(memory, tokens)
    refresher = memory.credentials._refresher
    tokens.rotates = True
    holder = memory.credentials.of("mail", used, None)
    await refresher.save(holder.grant, StoredGrant("of-the-first-account"))
    started, released = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        if len(tokens.grants) == 1:
            started.set()
            await released.wait()

    tokens.hold = hold
    refreshing = asyncio.create_task(memory.credentials.use(holder))
    await started.wait()
    connecting = asyncio.create_task(connections.exchange(service, Subject("service"), "code", "v", "https://gw/cb"))
    await until(lambda: len(tokens.grants) == 2)
    released.set()
    await asyncio.gather(refreshing, connecting)
    stored = await refresher.load(holder.grant)
    assert stored is not None
    assert stored.refresh_token == "refresh-2"
    again = memory.credentials.of("mail", used, None)
    await memory.credentials.use(again)
    assert again.field == (b"authorization", b"Bearer token-2")


async def test_another_configured_refresh_token_replaces_the_stored_one(memory: World, tokens: TokenServer) -> None:
    tokens.rotates = True
    origin = await memory.serve(
        GuardedBackend(), policy=policy(tokens, grant=GrantType.REFRESH_TOKEN, refresh_token="first")
    )
    await memory.request("GET", PATH)
    memory.add(
        Service("crm", (origin.target,), policy=policy(tokens, grant=GrantType.REFRESH_TOKEN, refresh_token="new"))
    )
    await memory.request("GET", PATH)
    assert [grant["refresh_token"] for grant in tokens.grants] == ["first", "new"]


async def test_nothing_of_it_is_shown(memory: World, tokens: TokenServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    tokens.rotates = True
    await guard(memory, tokens, grant=GrantType.REFRESH_TOKEN, refresh_token="first-refresh")
    response = await memory.request("GET", "/api/v1/crm/x", [("X-Gateway-Debug", "1")])
    debug = response.get("x-gateway-debug") or ""
    assert "credential" in debug
    policies = [repr(service.policy) for service in memory.live.table.services.values()]
    holders = repr([holder.record for holder in memory.credentials._holders.values()])
    shown = " ".join([debug, caplog.text, *policies, holders, *map(repr, memory.observer.requests)])
    for secret in ("token-1", "refresh-1", "first-refresh", "s3cret"):
        assert secret not in shown


async def test_a_route_without_a_credential_takes_no_further_step(memory: World) -> None:
    match = memory.live.table
    assert match is not None
    async with ScriptedOrigin(b"") as origin:
        memory.add(Service("plain", (Target(origin.url),), policy=RoutePolicy(cache=CachePolicy(scope=Scope.SHARED))))
        found = memory.live.table.match("plain", "GET", b"/")
        assert [name for name, _ in memory.gateway.steps(found, "GET") if "credential" in name] == []


async def test_the_handshake_of_a_websocket_carries_it_too(tokens: TokenServer) -> None:
    refuse, received = {"Bearer token-1"}, list[str]()

    def check(connection: ServerConnection, request: Request) -> Any:
        received.append(request.headers["Authorization"])
        return connection.respond(401, "no") if received[-1] in refuse else None

    async with serve(greet, "127.0.0.1", 0, process_request=check) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        world = websocket_world(port, policy=policy(tokens, route={"websocket": True}))
        try:
            socket = socket_to(world, FakeClock())
            assert await socket.connect() is None
            assert (await socket.receive())["text"] == "hello"
            await socket.disconnect()
            assert received == ["Bearer token-1", "Bearer token-2"]
            refuse.add("Bearer token-2")
            tokens.raw = BAD["HTML"]
            assert await closed_with(socket_to(world, FakeClock())) == CloseCode.BAD_GATEWAY
        finally:
            await world.close()
