"""The whole gateway as one ASGI application: requests for services and health ahead of Django, the rest to Django."""

from collections.abc import Awaitable
from typing import Final

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

from gateway_project.lifespan import Life
from routing import asgi, runtime
from routing.asgi import Receive, Scope, Send
from routing.realtime.pages import PATH, EventPages
from routing.ways import PREFIX

django.setup(set_prefix=False)

from gateway_project import sockets  # noqa: E402 - consumers know models, which need Django set up

_django: asgi.Application = ASGIHandler()
_life = Life(runtime.current())
SERVICES: Final = PREFIX.decode()

_session = settings.SESSION_COOKIE_NAME.encode()


def application(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """HTTP to the gateway or to Django; a worker's life to the runtime."""
    if scope["type"] == "http":
        return _http(scope, receive, send)
    if scope["type"] == "lifespan":
        return _life.span(receive, send)
    return sockets.application(scope, receive, send)


def _http(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    gateway = runtime.current().gateway
    if (scope["path"].startswith(SERVICES) or gateway.serves(scope["path"], asgi.host(scope))) and not _wants_page(
        scope
    ):
        return asgi.answer(gateway, scope, receive, send, _life.serve)
    if scope["path"] == PATH:
        pages = EventPages(gateway, runtime.current().realtime)
        return _life.serve(asgi.answer_page(pages, scope, receive, send))
    return _life.serve(_page(scope, receive, send))


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    """Health, or anything of Django's."""
    page = await runtime.current().health.answer(scope["path"]) if scope["path"].startswith("/health") else None
    if page is not None:
        await asgi.send_response(page, send)
        return
    await _django(scope, receive, send)


def _wants_page(scope: Scope) -> bool:
    """Whether Django should look closer: a browser that may be a member of staff wants the answer as a page."""
    if scope["method"] != "GET":
        return False
    accepts_page = has_session = False
    for name, value in scope["headers"]:
        if name == b"accept":
            accepts_page = b"text/html" in value
        elif name == b"cookie":
            has_session = _session in value
    return accepts_page and has_session
