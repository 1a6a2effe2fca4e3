"""The gateway before a project's ASGI application: `application = Gateway(get_asgi_application())`."""

import asyncio
import logging
from collections.abc import Awaitable, Collection
from typing import Final
from urllib.parse import unquote

import django

from routing import asgi, runtime
from routing.asgi import ASGIApplication, Receive, Scope, Send
from routing.deliveries.endpoint import PREFIX as HOOKS
from routing.http import Request, Response
from routing.realtime.http import PATH
from routing.router import paths
from routing.router.resolution import host

django.setup(set_prefix=False)

from gateway_project import sockets  # noqa: E402 - imports models, which need Django set up

log = logging.getLogger(__name__)

EVENTS: Final = PATH.encode()


class Gateway:
    """Handles requests for services, at `/api/v1/<service>/` or a service's own host, and for events, deliveries of
    webhooks and the WebSockets of these and of the dashboard. All else is the project's.

    `leave` lists paths that are the project's although the gateway has them: `/events`, `/hooks/`.
    """

    def __init__(self, project: ASGIApplication, *, leave: Collection[str] = ()) -> None:
        self._project = project
        own = {EVENTS, HOOKS} - {path.encode() for path in leave}
        self._events, self._hooks = EVENTS in own, HOOKS in own
        self._runtime = runtime.current()
        self._starting = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if not self._runtime.started:  # the server knows no lifespan
            await self._start()
        if scope["type"] == "http":
            await asgi.serve_asgi(self._handle, self._project, scope, receive, send)
        elif scope["type"] == "websocket" and self._has_socket(scope):
            await sockets.application(scope, receive, send)
        else:
            await self._project(scope, receive, send)

    def _handle(self, request: Request) -> Response | Awaitable[Response] | None:
        """None for the project's requests."""
        path, gateway = request.path, self._runtime.gateway
        if self._is_service(path, self._host(request)):
            return gateway.answer(request)
        if self._events and path == EVENTS:
            return self._runtime.events.answer(request)
        if self._hooks and path.startswith(HOOKS):
            return self._runtime.webhooks.answer(request)
        return None

    def _is_service(self, path: bytes, host: str) -> bool:
        """Whether a request is for a configured service or, as long as no configuration is loaded, might be."""
        gateway = self._runtime.gateway
        found = paths.split(unquote(path.decode("latin-1")).encode("latin-1", "replace"))
        if found is not None and (found.service in gateway.live.table.services or not gateway.live.table.is_loaded):
            return True
        return gateway.owns(host)

    def _has_socket(self, scope: Scope) -> bool:
        name = self._host(asgi.handshake_request(scope))
        return scope["path"] in sockets.PATHS or self._is_service(scope["path"].encode(), name)

    def _host(self, request: Request) -> str:
        """The host that the client used, as trusted proxies say."""
        if self._runtime.gateway.proxies is not None:
            self._runtime.gateway.proxies.apply(request)
        return host(request)

    async def _start(self) -> None:
        async with self._starting:
            if not self._runtime.started:
                await self._runtime.start()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """If the gateway cannot start, the error is logged and the server stops."""
        await receive()
        try:
            await self._start()
        except Exception as error:
            log.exception("the gateway cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._runtime.stop()
        await send({"type": "lifespan.shutdown.complete"})
