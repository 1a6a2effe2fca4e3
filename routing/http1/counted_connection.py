"""Limits on the connections of one client address (see MAX_CONNECTIONS_PER_CLIENT), and of all clients together."""

import asyncio
import logging
import sys
from collections import Counter

from resilience.throttled_log import ThrottledLog
from routing.http1.connection import Connection
from routing.http1.state import CLOSING
from routing.http1.worker import Worker
from routing.messages.proxies import TrustedProxies
from routing.messages.validation import client_prefix

log = logging.getLogger(__name__)


class ConnectionLimit:
    """Counts a worker's open connections by address (a /64 of IPv6). `limit` 0 is none, and `total` that of all.

    `exempt` are proxies, whose connections are those of many clients; so are connections without an address.
    """

    def __init__(self, limit: int = 0, exempt: TrustedProxies | None = None, *, total: int = sys.maxsize) -> None:
        self._limit = limit
        self._total = total
        self._warn = ThrottledLog(log).warning
        self._exempt = exempt or TrustedProxies()
        self._open = Counter[str]()

    def has_room(self, connections: int) -> bool:
        """Whether a worker may have so many. The database, Redis and backends need some of its open files too."""
        if connections <= self._total:
            return True
        self._warn("new connections of clients are closed", f"{self._total} are open, and files are left for the rest")
        return False

    def enter(self, client: str) -> bool:
        """Count a connection, unless its client has as many as it may. `leave` must be called if it was counted."""
        if not self._applies_to(client):
            return True
        prefix = client_prefix(client)
        if self._open[prefix] >= self._limit:
            return False
        self._open[prefix] += 1
        return True

    def leave(self, client: str) -> None:
        if not self._applies_to(client):
            return
        prefix = client_prefix(client)
        self._open[prefix] -= 1
        if self._open[prefix] <= 0:
            del self._open[prefix]

    def _applies_to(self, client: str) -> bool:
        return bool(self._limit and client) and not self._exempt.trusts(client)


class CountedConnection(Connection):
    """Closed at once, without a response, if its client has too many: nothing is spent on what may be a flood.

    Handed over to a WebSocket it stays counted, and the WebSocket must call `leave` when it ends.
    """

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop, limit: ConnectionLimit) -> None:
        super().__init__(worker, loop)
        self._limit = limit
        self._counted_as = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._limit.has_room(len(self.worker.connections)):
            self._count()
        else:
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:
        self._limit.leave(self._counted_as)
        self._counted_as = ""
        super().connection_lost(exc)

    def set_client(self, client: tuple[str, int], scheme: str) -> None:
        """The client that a trusted proxy has named for the whole connection."""
        self._limit.leave(self._counted_as)
        self.client, self.peer, self.scheme = client[0], client, scheme
        self._count()

    def _count(self) -> None:
        if self._limit.enter(self.client):
            self._counted_as = self.client
        else:
            self._refuse()

    def _refuse(self) -> None:
        self._counted_as = ""
        self._state = CLOSING
        self.transport.close()
