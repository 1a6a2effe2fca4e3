"""What observers are told of a request, once: when the last byte of its response has been sent, or its client left."""

from collections.abc import Callable
from typing import Final

from routing.exchange import Exchange
from routing.http import Response
from routing.messages.response_body import Relay
from routing.observability.events import Observers, RequestFinished

CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's status for a client that did not wait for the response."""


class Accounting:
    """`timer` is monotonic seconds, as the exchanges' own."""

    def __init__(self, observers: Observers, timer: Callable[[], float]) -> None:
        self._observers = observers
        self._timer = timer

    def streaming(self, exchange: Exchange, response: Response) -> None:
        """Account for a relayed body when it ends; for an event stream, which has no end, now."""
        body, status = response.body, response.status
        if isinstance(body, Relay):
            body.on_end(lambda passed, aborted: self.finished(exchange, status, passed, aborted))
        else:
            self.finished(exchange, status)

    def aborted(self, exchange: Exchange) -> None:
        """The client went away before there was a response."""
        self.finished(exchange, CLIENT_CLOSED_REQUEST, 0, "client_gone")

    def finished(self, exchange: Exchange, status: int, size: int = 0, aborted: str = "") -> None:
        """`size` is the body's bytes as sent; `aborted` is why it stopped short, empty if it did not."""
        resolution, request, caller, call = exchange.resolution, exchange.request, exchange.caller, exchange.call
        match, circuit = resolution.match, exchange.circuit
        # By position, in Finished's order: by keyword it takes seven times as long, 0.8 us of every request.
        event = RequestFinished(
            exchange.received_at,
            exchange.id,
            request.method,
            resolution.path or request.path.decode("latin-1"),
            status,
            self._timer() - exchange.started,
            call.seconds,
            match.service.name if match else "",
            match.pattern if match else "",
            caller.id if caller else "",
            request.client,
            exchange.cache.x_cache,
            exchange.error_code,
            circuit.state,
            size,
            aborted,
            call.error or circuit.error,
            call.retries,
            call.target.url if call.target else "",
        )
        self._observers.finished(event)
