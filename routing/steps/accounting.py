"""What observers are told of a request: once, when the last byte of its answer has gone, or its client has."""

from collections.abc import Callable
from typing import Final

from routing.exchange import Exchange
from routing.http import Response
from routing.messages.response_body import Relay
from routing.observability.events import Finished, Observers

CLIENT_CLOSED_REQUEST: Final = 499
"""What access logs have come to call a client that did not wait."""


class Accounting:
    """`timer` is monotonic seconds, the exchanges' own."""

    def __init__(self, observers: Observers, timer: Callable[[], float]) -> None:
        self._observers = observers
        self._timer = timer

    def begun(self, exchange: Exchange, response: Response) -> None:
        """Tell of a stream when it ends; of a page's, which has no end, when it begins."""
        body, status = response.body, response.status
        if isinstance(body, Relay):
            body.when_ended(lambda passed, aborted: self.told(exchange, status, passed, aborted))
        else:
            self.told(exchange, status)

    def gone(self, exchange: Exchange) -> None:
        self.told(exchange, CLIENT_CLOSED_REQUEST, 0, "client_gone")

    def told(self, exchange: Exchange, status: int, size: int = 0, aborted: str = "") -> None:
        way, match, request, caller = exchange.resolution, exchange.resolution.match, exchange.request, exchange.caller
        # By position, in Finished's order: by name it takes seven times as long, 0.8 us of every request.
        event = Finished(
            exchange.received_at,
            exchange.id,
            request.method,
            way.path or request.path.decode("latin-1"),
            status,
            self._timer() - exchange.started,
            exchange.backend_seconds,
            match.service.name if match else "",
            match.pattern if match else "",
            caller.id if caller else "",
            request.client,
            exchange.cache,
            exchange.error_code,
            exchange.circuit,
            size,
            aborted,
            exchange.call_error,
            exchange.retries,
            exchange.target.url if exchange.target else "",
        )
        self._observers.finished(event)
