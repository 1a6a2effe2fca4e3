"""Events for observers: delivered synchronously and in memory, never awaited on the request path."""

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum

import msgspec

log = logging.getLogger(__name__)


class RequestFinished(msgspec.Struct, frozen=True):
    """A request that has finished, including its response body. Durations are seconds, `at` is Unix time.

    `cache` is the value of X-Cache, empty if the cache was not reached. `code` is the error code of the gateway's own
    error response. `aborted` is why the body ended early. `call` is the error code of a backend call that failed, even
    if a cached or fallback response was sent. `retries` counts calls after the first; `target` is the address of the
    last one, and `reason` why it failed, such as "certificate: expired": for operators only. `fallback` is the other
    service that responded in place of this one; `backend` and `target` are then of its call.
    """

    at: float
    request_id: str
    method: str
    path: str
    status: int
    duration: float
    backend: float | None = None
    service: str = ""
    route: str = ""
    caller: str = ""
    client: str = ""
    cache: str = ""
    code: str = ""
    circuit: str = ""
    bytes: int = 0
    aborted: str = ""
    call: str = ""
    retries: int = 0
    target: str = ""
    reason: str = ""
    fallback: str = ""


class BackendEventKind(StrEnum):
    """What can happen to a backend or a target, apart from circuit transitions."""

    RETRIED = "retried"
    REFUSED = "refused"
    EJECTED = "ejected"
    RETURNED = "returned"
    DOWN = "down"
    UP = "up"
    REPLAYED = "replayed"


class BackendEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a service or of one of its targets; `target` is an address, for operators only.

    RETRIED: a call is retried, `detail` is the reason. REFUSED: no call was made, `detail` is the error code.
    EJECTED and RETURNED: this worker ejects a failing target, and uses it again. DOWN and UP: the cluster's health
    verdict, emitted by the worker that runs the health checks. REPLAYED: the stored response to a write was sent again.
    """

    kind: BackendEventKind
    service: str
    target: str = ""
    detail: str = ""


EventSink = Callable[[BackendEvent], None]
"""Takes events as they happen: `Observers.backend_event`."""


class Observer:
    """Base class of observers; override the methods of interest. Exceptions they raise are logged."""

    def finished(self, event: RequestFinished) -> None:
        """A request has finished."""

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        """A circuit changed state; called only in the worker that changed it."""

    def backend_event(self, event: BackendEvent) -> None:
        """Any other event of a backend."""


class Observers:
    """Notifies several observers; an exception in one affects neither the others nor the request."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        # Only overridden methods are called, so that an observer costs nothing for events it does not handle.
        self._finished = [each.finished for each in observers if type(each).finished is not Observer.finished]
        self._backend_event = [
            each.backend_event for each in observers if type(each).backend_event is not Observer.backend_event
        ]

    def finished(self, event: RequestFinished) -> None:
        for finished in self._finished:
            try:
                finished(event)
            except Exception:
                log.exception("an observer failed on an event")

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        for observer in self._observers:
            try:
                observer.circuit_changed(service, before, after, reason)
            except Exception:
                log.exception("an observer failed on an event")

    def backend_event(self, event: BackendEvent) -> None:
        for backend_event in self._backend_event:
            try:
                backend_event(event)
            except Exception:
                log.exception("an observer failed on an event")
