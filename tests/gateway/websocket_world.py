"""WebSockets to services through the proxy of a gateway in memory."""

from typing import Any

from websockets.asyncio.server import ServerConnection

from routing.authentication.authenticator import Authenticator
from routing.backend.client import Backend
from routing.backend.dialer import Dialer
from routing.balancing.balancer import Balancers
from routing.realtime.limits import Limits
from routing.realtime.proxy import SocketProxy
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Service
from routing.steps.calls import Calls
from tests.clock import FakeClock
from tests.gateway.conftest import COOKIES, World, make_world
from tests.websocket import Socket


async def greet(ws: ServerConnection) -> None:
    """A backend that sends a message, and waits for the end."""
    await ws.send("hello")
    await ws.wait_closed()


def websocket_world(*ports: int, policy: RoutePolicy | None = None) -> World:
    """A gateway with the service `chat`, which has a target at each port."""
    world = make_world("asgi")
    targets = tuple(Target(f"http://127.0.0.1:{port}") for port in ports)
    world.add(Service("chat", targets, policy=policy or RoutePolicy(websocket=True)))
    return world


def proxy_of(
    world: World,
    timer: FakeClock,
    dialer: Dialer | None = None,
    limits: Limits | None = None,
) -> SocketProxy:
    """A proxy with circuits and balancers of the world's."""
    emit = world.observer.backend_event
    calls = Calls(
        Backend(),
        world.breakers,
        cookies=COOKIES,
        max_body_bytes=1_000,
        balancers=Balancers(clock=world.clock, emit=emit),
        emit=emit,
    )
    authenticator = Authenticator(lambda: world.live.keys)
    return SocketProxy(
        world.gateway, calls, authenticator, origins=(), clock=world.clock, timer=timer, dialer=dialer, limits=limits
    )


def client_of(
    proxy: SocketProxy,
    world: World,
    path: str = "/api/v1/chat/",
    key: str | None = None,
    query: bytes = b"",
    *,
    host: bytes = b"gateway",
    **scope: Any,
) -> Socket:
    """A client with the first caller's key, or with `key`. `path` is as sent."""
    headers = [(b"host", host), (b"x-api-key", (world.key if key is None else key).encode())]
    if key == "":
        headers.pop()
    more = {"client": ("127.0.0.1", 5), "http_version": "1.1", "raw_path": path.encode(), "query_string": query}
    return Socket(proxy.answer, path, headers, **more, **scope)


def socket_to(world: World, timer: FakeClock, path: str = "/api/v1/chat/", dialer: Dialer | None = None) -> Socket:
    return client_of(proxy_of(world, timer, dialer), world, path)


async def closed_with(socket: Socket) -> int:
    """The code that an opened socket is closed with."""
    assert await socket.connect() is None
    end = await socket.receive()
    assert end["type"] == "websocket.close"
    return int(end["code"])
