"""What can be set in a backend while it runs: `GET` and `POST /demo/settings` on its own port; `GET /demo/calls`.

    curl -X POST 127.0.0.1:9101/demo/settings -d '{"errors": {"users.list": "internal_error"}}'

A setting that is not sent keeps its value.
"""

import asyncio
import json
import time
from collections import Counter
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from routing.demo.webhooks import WebhookSender

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
MAX_WINDOWS: Final = 10_000
NO_STORE: Final = {"Cache-Control": "no-store"}


class WebhookTarget(msgspec.Struct, forbid_unknown_fields=True):
    """Where changes are reported. `secret` signs them."""

    url: str
    secret: str = ""


class DemoSettings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`token` is the only one accepted; without it, a request may have none. `errors` are by operation. Watches and
    channels last `watch_seconds` at most.
    """

    latency: float = 1.0
    limits: bool = True
    token: str | None = None
    token_seconds: int = 3_599
    watch_seconds: float = 7 * 86_400
    errors: dict[str, str] = {}
    webhook: WebhookTarget | None = None


class Controls:
    """A backend's settings, the number of its calls by operation, its limits and its webhooks."""

    def __init__(self) -> None:
        self.settings = DemoSettings()
        self.calls: Counter[str] = Counter()
        self.sender = WebhookSender()
        self._windows: dict[tuple[str, float], tuple[float, int]] = {}

    def attach(self, backend: web.Application) -> None:
        backend.router.add_get("/demo/settings", of_the_machine(self._show))
        backend.router.add_post("/demo/settings", of_the_machine(self._change))
        backend.router.add_get("/demo/calls", of_the_machine(self._count))
        backend.on_cleanup.append(self.sender.close)

    async def wait(self, seconds: float) -> None:
        """The artificial latency."""
        await asyncio.sleep(seconds * self.settings.latency)

    def use(self, name: str, limit: int, seconds: float, cost: int = 1) -> tuple[int, float]:
        """Take `cost` of `limit` in a fixed window: what remains (negative if refused), and seconds to its end."""
        if not self.settings.limits:
            return limit, seconds
        now = time.monotonic()
        if len(self._windows) >= MAX_WINDOWS:
            self._windows.clear()
        began, used = self._windows.get((name, seconds), (now, 0))
        if now >= began + seconds:
            began, used = now, 0
        if used + cost <= limit:
            used += cost
            self._windows[name, seconds] = began, used
            return limit - used, began + seconds - now
        return -1, began + seconds - now

    async def _show(self, _: web.Request) -> web.Response:
        return web.json_response(msgspec.to_builtins(self.settings), headers=NO_STORE)

    async def _change(self, request: web.Request) -> web.Response:
        try:
            changes = json.loads(await request.read())
            settings = msgspec.convert({**msgspec.to_builtins(self.settings), **changes}, DemoSettings)
            hostname = urlsplit(settings.webhook.url).hostname if settings.webhook else LOOPBACK[0]
        except (ValueError, TypeError) as error:
            raise web.HTTPBadRequest(reason=str(error).splitlines()[0]) from None
        if hostname not in LOOPBACK:
            raise web.HTTPBadRequest(reason="webhooks are sent to the loopback interface only")
        self.settings = settings
        return await self._show(request)

    async def _count(self, _: web.Request) -> web.Response:
        return web.json_response({"total": self.calls.total(), "operations": dict(self.calls)}, headers=NO_STORE)


def of_the_machine(handler: Handler) -> Handler:
    """A handler for requests to the backend's own port: those through a gateway, which have a Via, find nothing."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if "Via" in request.headers:
            raise web.HTTPNotFound
        return await handler(request)

    return handle


def reply(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A JSON response, compressed where the client accepts it."""
    response = web.json_response(body, status=status, headers=headers)
    response.enable_compression()
    return response


async def fields(request: web.Request) -> dict[str, str]:
    """The fields of a form, or of a query."""
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
