"""The whole gateway as one ASGI application: requests for services and health ahead of Django, the rest to Django."""

from collections.abc import Awaitable
from typing import Final
from urllib.parse import unquote

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

from gateway_project.server.lifespan import Life
from routing import asgi, runtime
from routing.asgi import Receive, Scope, Send
from routing.http import Request, Response
from routing.realtime.http import PATH
from routing.router.paths import PREFIX
from routing.router.resolution import host

django.setup(set_prefix=False)

from gateway_project import sockets  # noqa: E402 - consumers know models, which need Django set up

_django: asgi.ASGIApplication = ASGIHandler()
_life = Life(runtime.current())
EVENTS: Final = PATH.encode()

_session = settings.SESSION_COOKIE_NAME.encode()


def application(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """All of it, for any ASGI server."""
    if scope["type"] == "http":
        return asgi.serve(handle_request, default_application, scope, receive, send)
    return default_application(scope, receive, send)


def handle_request(request: Request) -> Response | Awaitable[Response] | None:
    """Whether the gateway answers, at once or in its time; None where Django does."""
    path, gateway = request.path, runtime.current().gateway
    if path.startswith(PREFIX) or gateway.serves(unquote(path.decode("latin-1")), host(request)):
        return None if _wants_page(request) else gateway.answer(request)
    if path == EVENTS:
        return runtime.current().events.answer(request)
    return None


def default_application(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """What is not the gateway's: pages, sockets, and a worker's life."""
    if scope["type"] == "http":
        return _page(scope, receive, send)
    if scope["type"] == "lifespan":
        return _life.span(receive, send)
    return sockets.application(scope, receive, send)


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    """Health, or anything of Django's."""
    page = await runtime.current().health.response(scope["path"]) if scope["path"].startswith("/health") else None
    if page is not None:
        await asgi.send_response(page, send)
        return
    await _django(scope, receive, send)


def _wants_page(request: Request) -> bool:
    """Whether Django should look closer: a browser that may be a member of staff wants the answer as a page."""
    if request.method != "GET" or b"text/html" not in request.fields.get(b"accept", b""):
        return False
    return any(name == b"cookie" and _session in value for name, value in request.headers)
