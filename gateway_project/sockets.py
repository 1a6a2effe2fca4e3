"""Every WebSocket path of the gateway's own: one list, each entry with its own guard."""

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path, re_path

from metrics.live import DashboardFeed
from routing.asgi import Receive, Scope, Send


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
    """There is nothing here."""
    await send({"type": "websocket.close", "code": 4404})


application = URLRouter(
    [
        path("ws/dashboard/", AllowedHostsOriginValidator(AuthMiddlewareStack(DashboardFeed.as_asgi()))),
        re_path(r"", nowhere),
    ]
)
