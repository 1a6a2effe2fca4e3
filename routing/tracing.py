"""A gateway whose requests are traced: each notes its steps, and hands them on when it is over.

Another class, so that a gateway that is not traced spends nothing on it.
"""

from collections.abc import Callable
from typing import Any, Protocol

from routing.exchange import Exchange, InternalEndpoint, StepLog
from routing.http import Request
from routing.messages.trace_context import Sampling, begun
from routing.observability.events import Observers
from routing.pipeline import Gateway
from routing.steps.accounting import Accounting


class Tracer(Protocol):
    """Called on the request's way: it keeps what it is told, and sends it later."""

    def ended(self, exchange: Exchange, status: int, aborted: str, duration: float) -> None:
        """A sampled request is over, after `duration` seconds; its steps are the exchange's."""


class TracedGateway(Gateway):
    """Takes what a Gateway takes, and where the traces go."""

    def __init__(self, *, tracer: Tracer, sampling: Sampling, observers: Observers, **parts: Any) -> None:
        super().__init__(observers=observers, **parts)
        self._sampling = sampling
        self._accounts = _TracedAccounts(observers, self._timer, tracer)

    def begin(self, request: Request, own: InternalEndpoint | None = None) -> Exchange:
        exchange = super().begin(request, own)
        exchange.step_log = StepLog(shown=exchange.step_log is not None, trace=begun(request.headers, self._sampling))
        return exchange


class _TracedAccounts(Accounting):
    def __init__(self, observers: Observers, timer: Callable[[], float], tracer: Tracer) -> None:
        super().__init__(observers, timer)
        self._tracer = tracer

    def told(self, exchange: Exchange, status: int, size: int = 0, aborted: str = "") -> None:
        super().told(exchange, status, size, aborted)
        if exchange.step_log is not None and exchange.step_log.trace and exchange.step_log.trace.sampled:
            self._tracer.ended(exchange, status, aborted, self._timer() - exchange.started)
