"""Every WebSocket path of the gateway's own: one list, each entry with its own guard."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from channels.auth import AuthMiddlewareStack
from channels.security.websocket import AllowedHostsOriginValidator

from metrics.live import DashboardFeed
from routing.asgi import Receive, Scope, Send

NOWHERE: Final = 4404

PATHS: Final[dict[str, Callable[..., Awaitable[Any]]]] = {
    "/ws/dashboard/": AllowedHostsOriginValidator(AuthMiddlewareStack(DashboardFeed.as_asgi())),
}


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The socket that `scope` asks for; closed where there is none."""
    socket = PATHS.get(scope["path"])
    if socket is None:
        await send({"type": "websocket.close", "code": NOWHERE})
        return
    await socket(scope, receive, send)
