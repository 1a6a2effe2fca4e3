"""What the gateway tells those who watch it: synchronous, in memory, never awaited on the request's way."""

import logging
from collections.abc import Sequence
from enum import StrEnum

import msgspec

log = logging.getLogger(__name__)


class RequestFinished(msgspec.Struct, frozen=True):
    """One request, from its first byte to the last of its answer. Durations are seconds, `at` Unix time.

    `cache` is X-Cache's word, or empty when the cache was not reached; `code` is the problem's, when the
    answer is the gateway's own refusal; `aborted` says why a body stopped before its end. `call` is the code the call
    to the backend ended with, where it did not come to an answer, whatever was answered instead; `retries` are calls
    beyond the first, and `target` is the address of the last one, for operators alone.
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


class BackendEventKind(StrEnum):
    """What may happen on the way to a backend, beside a change of its circuit."""

    RETRIED = "retried"
    REFUSED = "refused"
    EJECTED = "ejected"
    RETURNED = "returned"
    DOWN = "down"
    UP = "up"
    REPLAYED = "replayed"


class BackendEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a service or to one of its targets; `target` is an address, for operators alone.

    RETRIED: a call is made again, `detail` says after what. REFUSED: none was made, `detail` is the problem's code.
    EJECTED and RETURNED: this worker leaves a failing target out, and takes it in again. DOWN and UP: the health
    check's verdict for the cluster, told by the one worker that asks. REPLAYED: a write's first answer was given again.
    """

    kind: BackendEventKind
    service: str
    target: str = ""
    detail: str = ""


class Observer:
    """Implemented above routing, by inheriting: what is not wanted is passed over. What it raises is logged."""

    def finished(self, event: RequestFinished) -> None:
        """A request is over."""

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        """A circuit has moved; told by the one worker that moved it."""

    def backend_event(self, event: BackendEvent) -> None:
        """Something else happened on the way to a backend."""


class Observers:
    """Tells each of several observers; one that fails does not silence the others, nor the request."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        # Who does not ask to hear of what each request comes to costs it nothing.
        self._of_requests = [one.finished for one in observers if type(one).finished is not Observer.finished]
        self._of_events = [
            one.backend_event for one in observers if type(one).backend_event is not Observer.backend_event
        ]

    def finished(self, event: RequestFinished) -> None:
        for finished in self._of_requests:
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
        for happened in self._of_events:
            try:
                happened(event)
            except Exception:
                log.exception("an observer failed on an event")
