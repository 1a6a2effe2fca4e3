"""What observers are told of a request: once, when the last byte of its answer has gone, or its client has."""

from collections.abc import Callable
from typing import Final

from routing.events import Finished, Observers
from routing.exchange import Exchange
from routing.http import Response
from routing.relay import Relay

GONE: Final = 499
"""What access logs have come to call a client that did not wait."""


class Accounts:
    """`timer` is monotonic seconds, the exchanges' own."""

    def __init__(self, observers: Observers, timer: Callable[[], float]) -> None:
        self._observers = observers
        self._timer = timer

    def answered(self, exchange: Exchange, response: Response) -> None:
        """Tell now of a whole body, and of a stream when it ends; of a page's, which has no end, when it begins."""
        body, status = response.body, response.status
        if isinstance(body, Relay):
            body.when_ended(lambda passed, aborted: self.told(exchange, status, passed, aborted))
        else:
            self.told(exchange, status, len(body) if isinstance(body, bytes) else 0)

    def gone(self, exchange: Exchange) -> None:
        self.told(exchange, GONE, 0, "client_gone")

    def told(self, exchange: Exchange, status: int, size: int = 0, aborted: str = "") -> None:
        match, request = exchange.match, exchange.request
        self._observers.finished(
            Finished(
                at=exchange.at,
                request_id=exchange.id,
                method=request.method,
                path=request.path.decode("latin-1"),
                status=status,
                duration=self._timer() - exchange.started,
                backend=exchange.backend,
                service=exchange.service,
                route=match.pattern if match else "",
                caller=exchange.caller.id if exchange.caller else "",
                client=request.client,
                cache=exchange.cache,
                code=exchange.code,
                circuit=exchange.circuit,
                bytes=size,
                aborted=aborted,
                call=exchange.call,
                retries=exchange.retries,
            )
        )
