"""A gateway whose requests are traced: each keeps a step log and passes it on when it has ended.

A class of its own, so that a gateway without tracing spends nothing on it.
"""

from collections.abc import Callable
from typing import Any, Protocol

from routing.exchange import Exchange, InternalEndpoint
from routing.http import Request
from routing.messages.identifiers import Sampling, start_trace
from routing.observability.events import Observers
from routing.pipeline import Gateway
from routing.steps.metering import Meter
from routing.steps.request_log import RequestLog
from routing.steps.respond import Accounting


class Tracer(Protocol):
    """Called on the request path: it records, and sends later."""

    def ended(self, exchange: Exchange, status: int, aborted: str, duration: float) -> None:
        """A sampled request has ended, after `duration` seconds; its steps are in the exchange's step log."""


class TracedGateway(Gateway):
    """Takes what a Gateway takes, and where the traces go."""

    def __init__(self, *, tracer: Tracer, sampling: Sampling, **parts: Any) -> None:
        self._tracer = tracer
        self._sampling = sampling
        super().__init__(**parts)

    def _open_accounting(self, observers: Observers, meter: Meter | None, request_log: RequestLog) -> Accounting:
        return _TracedAccounting(observers, self._timer, self._tracer, meter, request_log)

    def begin(self, request: Request, endpoint: InternalEndpoint | None = None) -> Exchange:
        exchange = super().begin(request, endpoint)
        exchange.log_steps().trace = start_trace(request.headers, self._sampling)
        return exchange


class _TracedAccounting(Accounting):
    def __init__(
        self,
        observers: Observers,
        timer: Callable[[], float],
        tracer: Tracer,
        meter: Meter | None,
        request_log: RequestLog,
    ) -> None:
        super().__init__(observers, timer, meter, request_log)
        self._tracer = tracer

    def finished(self, exchange: Exchange, status: int, size: int = 0, aborted: str = "") -> None:
        super().finished(exchange, status, size, aborted)
        if exchange.step_log is not None and exchange.step_log.trace and exchange.step_log.trace.sampled:
            self._tracer.ended(exchange, status, aborted, self._timer() - exchange.started)
