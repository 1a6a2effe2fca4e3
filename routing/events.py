"""What the gateway tells those who watch it: synchronous, in memory, never awaited on the request's way."""

import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

log = logging.getLogger(__name__)


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """One request, from its first byte to the last of its answer. Durations are seconds, `at` Unix time.

    `cache` is X-Cache's word, or empty when the cache was not reached; `code` is the problem's, when the
    answer is the gateway's own refusal; `aborted` says why a body stopped before its end. `call` is the code the call
    to the backend ended with, where it did not come to an answer, whatever was answered instead; `retries` are calls
    beyond the first.
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


class Observer(Protocol):
    """Implemented above routing; what it raises is logged and goes no further."""

    def finished(self, event: Finished) -> None: ...

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None: ...


class Observers:
    """Tells each of several observers; one that fails does not silence the others, nor the request."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def finished(self, event: Finished) -> None:
        for observer in self._observers:
            try:
                observer.finished(event)
            except Exception:
                log.exception("an observer failed on a finished request")

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        for observer in self._observers:
            try:
                observer.circuit_changed(service, before, after, reason)
            except Exception:
                log.exception("an observer failed on a change of a circuit")
