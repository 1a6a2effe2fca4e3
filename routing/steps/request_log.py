"""The port to what records single requests, for staff to look up."""

import sys
from typing import Final, Protocol

from routing.exchange import Exchange
from routing.observability.events import RequestFinished


class RequestLog(Protocol):
    """Called on the request path: it notes in memory, and raises nothing."""

    def next_sample(self, exchange: Exchange | None = None) -> int:
        """Sample a request: its steps are logged, and it is recorded whatever becomes of it. Returns how many requests
        are passed over before the next one.
        """

    def waiting(self, exchange: Exchange) -> None:
        """A request has to wait, so that it may be slow or fail: its steps are logged from now on, if it may matter."""

    def finished(self, exchange: Exchange, event: RequestFinished) -> None:
        """A request has ended that has a step log or has failed. Others are not passed to it."""


class NoRequestLog:
    """Records nothing."""

    def next_sample(self, exchange: Exchange | None = None) -> int:  # noqa: ARG002 - the protocol's
        return sys.maxsize

    def waiting(self, exchange: Exchange) -> None:
        pass

    def finished(self, exchange: Exchange, event: RequestFinished) -> None:
        pass


NO_REQUEST_LOG: Final[RequestLog] = NoRequestLog()
