"""An Observer that adds up what happened, in this worker's memory: constant work a request, and nothing awaited."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from metrics.counts import MINUTE
from metrics.histogram import bucket
from routing.errors import BadGateway, CircuitOpen, UpstreamTimeout
from routing.events import Finished, Observer

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
"""Any other is counted as OTHER: a client may invent as many as it likes."""
PATHS: Final = 50
"""Paths of one service noted between two flushes: clients may ask for any number."""
PATH_LENGTH: Final = 200
FAILURES: Final = frozenset({500, 502, 503, 504})
"""Answers of a backend that count against its circuit (contract section 6)."""
_BROKEN: Final = frozenset({BadGateway.code, UpstreamTimeout.code})


class Change(NamedTuple):
    """A circuit's move, at Unix seconds."""

    at: float
    service: str
    before: str
    after: str
    reason: str


class Counting(Observer):
    """`take` hands over what was counted since the last time. `gauges` are asked at every flush."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.gauges: dict[str, Callable[[], int]] = {}
        self._clock = clock
        self._counts: dict[tuple[int, str], Counter[tuple[str, ...]]] = {}
        self._changes: list[Change] = []
        self._paths: Counter[str] = Counter()

    def finished(self, event: Finished) -> None:
        counter = self._counter(event.at + event.duration, event.service)
        method = event.method if event.method in METHODS else "OTHER"
        counter["requests", method, f"{event.status // 100}xx", event.route] += 1
        counter["duration", str(bucket(event.duration))] += 1
        counter["duration_us",] += round(event.duration * 1e6)
        counter["bytes",] += event.bytes
        if event.backend is not None:
            counter["backend", str(bucket(event.backend))] += 1
            counter["backend_us",] += round(event.backend * 1e6)
        if event.cache:
            counter["cache", event.cache] += 1
        if event.code:
            counter["code", event.code] += 1
        if event.aborted:
            counter["aborted", event.aborted] += 1
        if event.retries:
            counter["retries",] += event.retries
        called = outcome(event)
        if called:
            counter["circuit", called] += 1
        if event.cache in ("HIT", "MISS") and event.status < 400:
            self._note_path(counter, event)

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        now = self._clock()
        self._counter(now, service)["transition", before, after] += 1
        self._changes.append(Change(now, service, before, after, reason))

    def take(self) -> dict[str, int]:
        """All counts by `start|service|field`, which are the taker's from now on."""
        counts, self._counts = self._counts, {}
        self._paths.clear()
        return {
            f"{start}|{service}|{'|'.join(field)}": number
            for (start, service), counter in counts.items()
            for field, number in counter.items()
        }

    def take_changes(self) -> list[Change]:
        """The circuits' moves that this worker made, likewise."""
        changes, self._changes = self._changes, []
        return changes

    def _note_path(self, counter: Counter[tuple[str, ...]], event: Finished) -> None:
        key = ("path", event.cache, event.path)
        if key not in counter:
            if self._paths[event.service] >= PATHS or len(event.path) > PATH_LENGTH:
                return
            self._paths[event.service] += 1
        counter[key] += 1

    def _counter(self, at: float, service: str) -> Counter[tuple[str, ...]]:
        key = (int(at // MINUTE) * MINUTE, service)
        counter = self._counts.get(key)
        if counter is None:
            counter = self._counts[key] = Counter()
        return counter


def outcome(event: Finished) -> str:
    """How the call behind a request went: `success`, `failure`, `refused` by the circuit, or empty without a call."""
    if event.call in _BROKEN or event.aborted in _BROKEN:
        return "failure"
    if event.call == CircuitOpen.code:
        return "refused"
    if event.backend is None:
        return ""
    return "failure" if event.status in FAILURES else "success"
