"""A WebSocket to a service through the gateway, with a fake clock."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from gateway_project.server.worker import CLOSE_SECONDS
from routing.backend.dialer import Dialer
from routing.backend.names import NameTable
from routing.realtime import tunnel
from routing.realtime.handshake import PINGS_EXTENSION
from routing.realtime.limits import Limits
from routing.realtime.proxy import IDLE_SECONDS
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Service
from tests.clock import FakeClock
from tests.gateway.conftest import World, make_world
from tests.gateway.test_plans import subscribe
from tests.gateway.websocket_world import client_of, closed_with, greet, proxy_of, socket_to, websocket_world
from tests.resilience.cache.entries import until
from tests.routing.backend.names import FakeResolver, unresponsive
from tests.system.echo import echo, websocket_server

pytestmark = pytest.mark.slow


@pytest.fixture
def chat() -> Iterator[World]:
    with echo() as port:
        world = make_world("asgi")
        policy = RoutePolicy(websocket=True)
        world.add(Service("chat", (Target(f"http://127.0.0.1:{port}"),), policy=policy))
        yield world


async def test_an_idle_socket_is_closed_and_a_message_restarts_the_timeout(chat: World) -> None:
    timer = FakeClock()
    socket = socket_to(chat, timer)
    assert await socket.connect() is None
    for _ in range(3):
        timer.advance(IDLE_SECONDS - 1)
        await socket.send("still here")
        assert (await socket.receive())["text"] == "still here"
    timer.advance(IDLE_SECONDS + 1)
    end = await socket.receive()
    assert (end["type"], end["code"], end["reason"]) == ("websocket.close", 4408, "idle")
    await socket.disconnect()  # wait until the tunnel has closed the backend too


class CheckedTimer(FakeClock):
    """Counts how often it is read: by each check of a tunnel."""

    reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return super().__call__()


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> CheckedTimer:
    monkeypatch.setattr(tunnel, "CHECK_SECONDS", 0.01)
    return CheckedTimer()


async def checked(timer: CheckedTimer) -> None:
    """Wait until the tunnel has been checked after this call."""
    before = timer.reads
    await until(lambda: timer.reads > before + 6)


async def test_pings_of_the_backend_restart_the_timeout(timer: CheckedTimer) -> None:
    answered, silent, stop = [0], threading.Event(), threading.Event()

    async def heartbeat(ws: ServerConnection) -> None:
        while not stop.is_set():
            await (await ws.ping())
            answered[0] += 1
            await asyncio.sleep(0.005)
        silent.set()
        await ws.wait_closed()

    with websocket_server(heartbeat) as port:
        socket = socket_to(websocket_world(port), timer)
        assert await socket.connect() is None
        for _ in range(3):
            timer.advance(IDLE_SECONDS - 1)
            before = answered[0]
            await until(lambda before=before: answered[0] > before + 1)
            await checked(timer)
        stop.set()
        await until(silent.is_set)
        await checked(timer)
        timer.advance(IDLE_SECONDS + 1)
        assert (await socket.receive())["code"] == 4408
        await socket.disconnect()


async def test_pings_of_the_client_restart_the_timeout(chat: World, timer: CheckedTimer) -> None:
    pings = 0
    socket = client_of(proxy_of(chat, timer), chat, extensions={PINGS_EXTENSION: {"count": lambda: pings}})
    assert await socket.connect() is None
    for _ in range(3):
        timer.advance(IDLE_SECONDS - 1)
        pings += 1
        await checked(timer)
    timer.advance(IDLE_SECONDS + 1)
    assert (await socket.receive())["code"] == 4408
    await socket.disconnect()


async def test_the_list_of_services_does_not_accept_websockets(chat: World) -> None:
    socket = socket_to(chat, FakeClock(), "/api/v1/")
    refused = await socket.connect()
    assert refused is not None
    assert chat.observer.requests[-1].code == "unknown_service"


@pytest.mark.parametrize("preserve", [False, True])
async def test_a_backend_is_sent_the_host_of_its_target_or_of_the_client(preserve: bool) -> None:
    hosts = []

    async def record(ws: ServerConnection) -> None:
        assert ws.request is not None
        hosts.append(ws.request.headers["Host"])
        await ws.send("hello")

    with websocket_server(record) as port:
        world = make_world("asgi")
        policy = RoutePolicy(websocket=True, preserve_host=preserve)
        world.add(Service("chat", (Target(f"http://127.0.0.1:{port}"),), policy=policy))
        socket = socket_to(world, FakeClock())
        assert await socket.connect() is None
        assert (await socket.receive())["text"] == "hello"
        await socket.disconnect()
    assert hosts == ["gateway" if preserve else f"127.0.0.1:{port}"]


@pytest.mark.parametrize("preserve", [False, True])
async def test_a_backend_is_connected_to_by_the_addresses_of_its_name(preserve: bool) -> None:
    with echo() as port:
        async with unresponsive("127.0.0.4", port):
            world = make_world("asgi")
            policy = RoutePolicy(websocket=True, preserve_host=preserve)
            world.add(Service("chat", (Target(f"http://chat.example:{port}"),), policy=policy))
            resolver = FakeResolver("127.0.0.4", "127.0.0.1")
            dialer = Dialer(NameTable(lookup=resolver))
            socket = socket_to(world, FakeClock(), dialer=dialer)
            assert await socket.connect() is None
            await socket.send("hello")
            assert (await socket.receive())["text"] == "hello"
            await socket.disconnect()
            assert len(resolver.calls) == 1
            await dialer.close()


async def test_a_caller_has_a_limit_of_sockets_until_one_ends(chat: World) -> None:
    proxy = proxy_of(chat, FakeClock(), limits=Limits(per_api_key=2))
    first, second = client_of(proxy, chat), client_of(proxy, chat)
    assert await first.connect() is None
    assert await second.connect() is None
    assert await client_of(proxy, chat).connect() is not None
    assert chat.observer.requests[-1].code == "rate_limited"
    await first.disconnect()
    third = client_of(proxy, chat)
    assert await third.connect() is None
    for socket in (second, third):
        await socket.disconnect()


async def test_a_backend_that_does_not_close_holds_no_place_of_its_caller() -> None:
    """Its own connection is closed for up to ten seconds, in which the caller has none."""
    over = threading.Event()

    async def deaf(ws: ServerConnection) -> None:
        ws.transport.pause_reading()
        await asyncio.to_thread(over.wait, 30)
        ws.transport.resume_reading()
        await ws.wait_closed()

    with websocket_server(deaf) as port:
        world = websocket_world(port)
        (key,) = subscribe(world, {"concurrency": 1})
        proxy = proxy_of(world, FakeClock(), limits=Limits(per_api_key=1))
        sockets = [client_of(proxy, world, key=key) for _ in range(3)]
        try:
            assert await sockets[0].connect() is None
            assert await sockets[1].connect() is not None
            await sockets[0].leave()
            await until(lambda: not world.gateway._plan_limits._slots._held)  # type: ignore[union-attr] # there are plans
            assert await sockets[2].connect() is None
        finally:
            over.set()
        for socket in (sockets[0], sockets[2]):
            await socket.disconnect()


async def test_a_refused_handshake_has_the_fields_of_other_refused_requests(chat: World) -> None:
    (key,) = subscribe(chat, {"rate": "1/m", "quota": [{"amount": 9, "per": "day"}]})
    proxy = proxy_of(chat, FakeClock())
    first = client_of(proxy, chat, key=key)
    assert await first.connect() is None
    refused = client_of(proxy, chat, key=key, extensions={"websocket.http.response": {}})
    await refused.connect()
    start = refused.refusal
    fields = dict(start["headers"])
    assert (start["status"], fields[b"ratelimit-policy"]) == (429, b'"plan";q=1;w=60, "plan-day";q=9;w=86400')
    assert fields[b"ratelimit"].startswith(b'"plan";r=0;t=')
    assert {b"retry-after", b"server-timing"} <= fields.keys()
    assert [name for name, _ in start["headers"]].count(b"x-request-id") == 1
    await first.disconnect()


@pytest.mark.parametrize("status", [401, 403, 404, 429])
async def test_a_handshake_refused_below_500_is_no_failure_of_the_service(status: int) -> None:
    def refuse(ws: ServerConnection, _request: Request) -> Response:
        return ws.respond(HTTPStatus(status), "no")

    with websocket_server(greet, process_request=refuse) as port:
        world = websocket_world(port)
        proxy = proxy_of(world, FakeClock())
        codes = [await closed_with(client_of(proxy, world)) for _ in range(8)]
    assert codes == [1014] * 8
    assert {request.code for request in world.observer.requests} == {"bad_gateway"}
    assert {request.reason for request in world.observer.requests} == {f"handshake refused with {status}"}


async def test_a_limited_handshake_holds_the_next_ones_off() -> None:
    handshakes = 0

    def limit(ws: ServerConnection, _request: Request) -> Response:
        nonlocal handshakes
        handshakes += 1
        response = ws.respond(HTTPStatus.TOO_MANY_REQUESTS, "no")
        response.headers["Retry-After"] = "30"
        return response

    with websocket_server(greet, process_request=limit) as port:
        world = websocket_world(port)
        proxy = proxy_of(world, FakeClock())
        for _ in range(3):
            await closed_with(client_of(proxy, world))
        assert handshakes == 1
        assert [request.code for request in world.observer.requests] == ["bad_gateway", *["backend_limited"] * 2]
        world.clock.advance(30)
        await closed_with(client_of(proxy, world))
        assert handshakes == 2


async def test_a_handshake_refused_with_503_opens_the_circuit() -> None:
    def refuse(ws: ServerConnection, _request: Request) -> Response:
        return ws.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no")

    with websocket_server(greet, process_request=refuse) as port:
        world = websocket_world(port)
        proxy = proxy_of(world, FakeClock())
        codes = [await closed_with(client_of(proxy, world)) for _ in range(8)]
    assert codes[0] == 1014
    assert codes[-1] == 1013


async def test_the_next_target_is_tried_after_one_that_cannot_be_reached() -> None:
    with websocket_server(greet) as port:
        world = websocket_world(1, port)
        proxy = proxy_of(world, FakeClock())
        for _ in range(4):
            socket = client_of(proxy, world)
            assert await socket.connect() is None
            assert (await socket.receive())["text"] == "hello"
            await socket.disconnect()


async def test_the_log_says_why_a_connection_failed() -> None:
    world = websocket_world(1)
    assert await closed_with(socket_to(world, FakeClock())) == 1014
    assert world.observer.requests[-1].reason == "connection refused"


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1009, "too big"), (3001, ""), (4001, "moved to tab 2")])
async def test_the_backend_receives_the_clients_close_code_and_reason(code: int, reason: str) -> None:
    assert await _backends_close(code, reason) == (code, reason)


@pytest.mark.parametrize("code", [1005, 1006, 1015])
async def test_a_code_that_is_never_sent_becomes_going_away_for_the_backend(code: int) -> None:
    assert await _backends_close(code, "") == (1001, "")


async def test_a_message_of_the_backend_over_the_limit_is_1009_on_both_sides() -> None:
    ends: list[int | None] = []

    async def flood(ws: ServerConnection) -> None:
        await ws.send("x" * 1_100_000)
        await ws.wait_closed()
        ends.append(ws.close_code)

    with websocket_server(flood) as port:
        assert await closed_with(socket_to(websocket_world(port), FakeClock())) == 1009
        await _until(ends)
    assert ends == [1009]


async def test_the_limit_of_a_text_message_is_in_bytes() -> None:
    ends: list[int | None] = []

    async def record(ws: ServerConnection) -> None:
        await ws.wait_closed()
        ends.append(ws.close_code)

    with websocket_server(record, max_size=None) as port:
        socket = socket_to(websocket_world(port), FakeClock())
        assert await socket.connect() is None
        await socket.send("\u20ac" * 400_000)
        assert (await socket.receive())["code"] == 1009
        await _until(ends)
    assert ends == [1009]


async def test_a_port_that_cannot_be_sent_to_the_backend_is_refused() -> None:
    """Of the client's Host field, where that is preserved."""
    with websocket_server(greet) as port:
        world = websocket_world(port, policy=RoutePolicy(websocket=True, preserve_host=True))
        socket = client_of(proxy_of(world, FakeClock()), world, host=b"gateway:99999")
        assert await socket.connect() is not None
        await socket.disconnect()
    assert world.observer.requests[-1].code == "bad_request"


async def test_a_client_that_does_not_read_does_not_keep_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "CHECK_SECONDS", 0.01)
    ends: list[int | None] = []

    async def record(ws: ServerConnection) -> None:
        await ws.wait_closed()
        ends.append(ws.close_code)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"} if not sent else await asyncio.Future()

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.close":
            await asyncio.Future()

    sent: list[str] = []
    with websocket_server(record) as port:
        world = websocket_world(port)
        proxy = proxy_of(world, FakeClock())
        headers = [(b"host", b"gateway"), (b"x-api-key", world.key.encode())]
        scope = {"path": "/api/v1/chat/", "raw_path": b"/api/v1/chat/", "query_string": b"", "headers": headers}
        scope |= {"type": "websocket", "subprotocols": [], "client": ("127.0.0.1", 5), "http_version": "1.1"}
        serving = asyncio.create_task(proxy.answer(scope, receive, send))
        await until(lambda: "websocket.accept" in sent)
        proxy.begin_shutdown()
        await serving
        await _until(ends)
    assert (sent, ends) == (["websocket.accept", "websocket.close"], [1012])


async def test_a_restart_closes_at_once_with_its_reason() -> None:
    """Before the server, which waits no longer than CLOSE_SECONDS and gives none."""
    with websocket_server(greet) as port:
        world = websocket_world(port)
        proxy = proxy_of(world, FakeClock())
        socket = client_of(proxy, world)
        await socket.connect()
        assert (await socket.receive())["text"] == "hello"
        proxy.begin_shutdown()
        async with asyncio.timeout(CLOSE_SECONDS):
            closed = await socket.receive()
    assert (closed["code"], closed["reason"]) == (1012, "the gateway is restarting")


FIELDS = [
    ("Set-Cookie", "sticky=b1; Path=/base/room; HttpOnly"),
    ("Set-Cookie", "sessionid=forged"),
    ("Set-Cookie", "wide=1; Domain=test"),
    ("Strict-Transport-Security", "max-age=1"),
    ("Access-Control-Allow-Origin", "*"),
    ("X-Request-Id", "the backend's"),
    ("X-Room", "caf\u00e9"),
]


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/api/v1/chat/room/7", b"gateway", [b"sticky=b1; Path=/api/v1/chat/room; HttpOnly"]),
        (
            "/room/7",
            b"chat.test",
            [b"sticky=b1; Path=/room; HttpOnly", b"sessionid=forged", b"wide=1; Domain=test", b"max-age=1"],
        ),
    ],
)
async def test_the_client_gets_the_fields_with_which_the_backend_accepts(
    path: str, host: bytes, expected: list[bytes]
) -> None:
    """A session or the choice of a backend, by a cookie; as in other responses, nothing that is the gateway's own, and
    no cookie with the name of one at the gateway's hosts."""

    def add(_ws: ServerConnection, _request: Request, response: Response) -> None:
        for name, value in FIELDS:
            response.headers[name] = value

    with websocket_server(greet, process_response=add) as port:
        world = make_world("asgi")
        policy = RoutePolicy(websocket=True)
        target = Target(f"http://127.0.0.1:{port}/base")
        world.add(Service("chat", (target,), policy=policy, hosts=("chat.test",)))
        socket = client_of(proxy_of(world, FakeClock()), world, path, host=host)
        await socket._peer.send_input({"type": "websocket.connect"})
        accepted = await socket.receive()
        await socket.disconnect()
    assert accepted["type"] == "websocket.accept"
    fields = [field for field in accepted["headers"] if field[0] != b"server"]
    assert fields[-1] == (b"x-room", "caf\u00e9".encode("latin-1"))
    assert [value for _, value in fields[:-1]] == expected


async def _backends_close(code: int, reason: str) -> tuple[int | None, str | None]:
    """How the backend's connection ends when the client closes with `code` and `reason`."""
    ends: list[tuple[int | None, str | None]] = []

    async def record(ws: ServerConnection) -> None:
        await ws.wait_closed()
        ends.append((ws.close_code, ws.close_reason))

    with websocket_server(record) as port:
        socket = socket_to(websocket_world(port), FakeClock())
        assert await socket.connect() is None
        await socket.disconnect(code, reason)
        await _until(ends)
    return ends[0]


async def _until(ends: Sequence[object]) -> None:
    """Wait until the server's thread has recorded an end."""
    async with asyncio.timeout(20):
        while not ends:  # noqa: ASYNC110 - another thread appends
            await asyncio.sleep(0.01)
