"""The port to what counts usage by consumer, team, service and route."""

from typing import Protocol

from routing.exchange import Exchange
from routing.observability.events import RequestFinished


class Transfer(Protocol):
    """A response or a WebSocket that is still being transferred."""

    @property
    def received(self) -> int:
        """Bytes from the client so far."""

    @property
    def sent(self) -> int:
        """Bytes to the client so far."""


class Meter(Protocol):
    """Called on the request path: it counts in memory, and raises nothing."""

    def finished(self, exchange: Exchange, event: RequestFinished) -> None:
        """A request has ended, or a WebSocket has been accepted."""

    def opened(self, exchange: Exchange, transfer: Transfer, status: int) -> None:
        """A response's head, or that of a WebSocket's handshake, has been sent; `transfer` goes on."""

    def closed(self, exchange: Exchange) -> None:
        """A WebSocket has ended."""
