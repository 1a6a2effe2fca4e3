"""Every WebSocket: services' own go to the proxy, the gateway's are one list, each entry with its own guard."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from channels.auth import AuthMiddlewareStack
from channels.security.websocket import AllowedHostsOriginValidator

from metrics.dashboard.events import StaffEventsConsumer
from metrics.dashboard.live import DashboardConsumer
from routing import asgi, runtime
from routing.asgi import Receive, Scope, Send
from routing.realtime.consumer import EventsConsumer

NOWHERE: Final = 4404

PATHS: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
    "/ws/dashboard/": AllowedHostsOriginValidator(AuthMiddlewareStack(DashboardConsumer.as_asgi())),
    "/ws/dashboard/events/": AllowedHostsOriginValidator(AuthMiddlewareStack(StaffEventsConsumer.as_asgi())),
    "/ws/events/": EventsConsumer.as_asgi(),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The socket that `scope` asks for, from its handshake to its end; closed where there is none."""
    socket = PATHS.get(scope["path"])
    if socket is not None:
        await socket(scope, receive, send)
    elif runtime.current().started and runtime.current().gateway.serves(scope["path"], asgi.host(scope)):
        await runtime.current().proxy.answer(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": NOWHERE})
