"""What the connections of a process share."""

import asyncio
from typing import Any, Protocol

from routing.asgi import ASGIApplication, RequestHandler
from routing.http1.head_cache import HeadCache
from routing.http1.ticker import Ticker


class Worker(Protocol):
    """`handler` handles requests; those it returns None for go to `application`.

    Connections may be idle between requests for `keep_alive` seconds. While `draining`, they are closed after their
    response; once `stopping`, also if no request comes soon.
    `upgrade_to_websocket` takes over a transport, with the bytes of the handshake and what follows,
    from `client` over the scheme `http` or `https`.
    """

    handler: RequestHandler
    application: ASGIApplication
    head_cache: HeadCache
    ticker: Ticker
    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    keep_alive: float

    @property
    def draining(self) -> bool: ...

    @property
    def stopping(self) -> bool: ...

    def upgrade_to_websocket(
        self, transport: asyncio.Transport, data: bytes, client: tuple[str, int] | None, scheme: str
    ) -> asyncio.BaseProtocol: ...
