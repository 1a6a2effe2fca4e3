"""Every WebSocket of the gateway's own, as one list; other paths are services' or nobody's."""

from typing import Any, Final

from channels.routing import URLRouter
from django.urls import path

from routing import asgi, runtime
from routing.asgi import Receive, Scope, Send
from routing.realtime.consumer import EventsConsumer

ROUTES: Final[list[Any]] = [
    path("ws/events/", EventsConsumer.as_asgi()),  # type: ignore[arg-type] # a consumer, as Channels routes them
]

_router: Final[Any] = URLRouter(ROUTES)


async def socket(scope: Scope, receive: Receive, send: Send) -> None:
    """One WebSocket, from its handshake to its end."""
    gateway = runtime.current().gateway
    if gateway.serves(scope["path"], asgi.host(scope)):
        await runtime.current().proxy.answer(scope, receive, send)
    elif any(route.pattern.match(scope["path"].lstrip("/")) for route in ROUTES):
        await _router(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 4404})
