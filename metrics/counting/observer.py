"""An Observer that adds up what happened, in this worker's memory: constant work a request, and nothing awaited."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from metrics.counting.counts import MINUTE
from metrics.counting.histogram import bucket
from resilience.cache.service import SERVICE
from resilience.statuses import FAILURE_STATUSES
from routing.errors import BadGateway, CircuitOpen, UpstreamTimeout
from routing.observability.events import BackendEvent, BackendEventKind, Observer, RequestFinished

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
OTHER: Final = "OTHER"
"""Any other method: a client may invent as many as it likes."""
NOTED: Final = frozenset({"HIT", "MISS"})
"""The cache's answers whose paths are noted."""
TOGETHER: Final = 64
"""Requests that are counted at once."""
PATHS: Final = 50
"""Paths of one service noted between two flushes: clients may ask for any number."""
PATH_LENGTH: Final = 200
OF_TARGETS: Final = frozenset(
    {BackendEventKind.EJECTED, BackendEventKind.RETURNED, BackendEventKind.DOWN, BackendEventKind.UP}
)
_BROKEN: Final = frozenset({BadGateway.code, UpstreamTimeout.code})


class CircuitTransition(NamedTuple):
    """A circuit's move, at Unix seconds."""

    at: float
    service: str
    before: str
    after: str
    reason: str


_Key = tuple[int, str, str, str, int, str, str, str, str, bool]


class _Cell:
    """Requests that ended alike, in one minute: what differs between them is added up."""

    __slots__ = ("backend", "backends", "bytes", "durations", "number", "retries", "total")

    def __init__(self) -> None:
        self.number = 0
        self.total = 0.0
        self.backend = 0.0
        self.bytes = 0
        self.retries = 0
        self.durations: defaultdict[int, int] = defaultdict(int)
        self.backends: defaultdict[int, int] = defaultdict(int)

    def fields(self, like: RequestFinished) -> Iterator[tuple[str, int]]:
        """The words of counts.py. `like` is any of the requests."""
        method = like.method if like.method in METHODS else OTHER
        yield f"requests|{method}|{like.status // 100}xx|{like.route}", self.number
        yield "duration_us", round(self.total * 1e6)
        yield from ((f"duration|{number}", count) for number, count in self.durations.items())
        if self.backends:
            yield "backend_us", round(self.backend * 1e6)
            yield from ((f"backend|{number}", count) for number, count in self.backends.items())
        said = {"cache": like.cache, "code": like.code, "aborted": like.aborted, "circuit": outcome(like)}
        yield from ((f"{what}|{word}", self.number) for what, word in said.items() if word)
        yield from ((what, sum_) for what, sum_ in (("bytes", self.bytes), ("retries", self.retries)) if sum_)


class MetricsObserver(Observer):
    """`take` hands over what was counted since the last time. `gauges` are asked at every flush."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._waiting: list[RequestFinished] = []
        self._cells: dict[_Key, tuple[_Cell, RequestFinished]] = {}
        self._paths: defaultdict[str, Counter[tuple[int, str, str]]] = defaultdict(Counter)
        self._noted: Counter[tuple[int, str, str]] = Counter()
        self._changes: list[CircuitTransition] = []

    def finished(self, event: RequestFinished) -> None:
        """Counted with the next few: many in a row take less than half as long as one among other work."""
        self._waiting.append(event)
        if len(self._waiting) >= TOGETHER:
            self._count_waiting()

    def _count_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for event in waiting:
            self._count(event)

    def _count(self, event: RequestFinished) -> None:
        duration, backend, cache, status = event.duration, event.backend, event.cache, event.status
        minute = int((event.at + duration) // MINUTE)
        method = event.method if event.method in METHODS else OTHER
        route, code, aborted, call = event.route, event.code, event.aborted, event.call
        key = (minute, event.service, route, method, status, cache, code, aborted, call, backend is None)
        known = self._cells.get(key)
        if known is None:
            known = self._cells[key] = (_Cell(), event)
        cell = known[0]
        cell.number += 1
        cell.total += duration
        cell.bytes += event.bytes
        cell.retries += event.retries
        cell.durations[bucket(duration)] += 1
        if backend is not None:
            cell.backend += backend
            cell.backends[bucket(backend)] += 1
        if cache in NOTED and status < 400:
            self._note_path(minute, event)

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        self._changes.append(CircuitTransition(self._clock(), service, before, after, reason))
        self.note(service, f"transition|{before}|{after}")

    def backend_event(self, event: BackendEvent) -> None:
        """What befell a target. Of the other kinds each request's own end tells."""
        if event.kind in OF_TARGETS:
            self.note(event.service, f"target|{event.kind}")

    def looked_up(self, hit: bool) -> None:
        """Count a look-up of a value by Python code, beside the requests."""
        self.note(SERVICE, "cache|HIT" if hit else "cache|MISS")

    def note(self, service: str, field: str) -> None:
        """Count something beside the requests, in the words of counts.py."""
        self._noted[int(self._clock() // MINUTE), service, field] += 1

    def take(self) -> tuple[dict[str, int], list[CircuitTransition]]:
        """All counts by `start|service|field`, and the circuits' moves this worker made: the taker's from now on."""
        self._count_waiting()
        cells, self._cells = self._cells, {}
        paths, self._paths = self._paths, defaultdict(Counter)
        noted, self._noted = self._noted, Counter()
        changes, self._changes = self._changes, []
        counts: Counter[str] = Counter()
        for key, (cell, like) in cells.items():
            for field, number in cell.fields(like):
                counts[f"{key[0] * MINUTE}|{like.service}|{field}"] += number
        for service, looked_up in paths.items():
            for (minute, word, path), number in looked_up.items():
                counts[f"{minute * MINUTE}|{service}|path|{word}|{path}"] += number
        for (minute, service, field), number in noted.items():
            counts[f"{minute * MINUTE}|{service}|{field}"] += number
        return dict(counts), changes

    def _note_path(self, minute: int, event: RequestFinished) -> None:
        noted = self._paths[event.service]
        key = (minute, event.cache, event.path)
        if key in noted or (len(noted) < PATHS and len(event.path) <= PATH_LENGTH):
            noted[key] += 1


def outcome(event: RequestFinished) -> str:
    """How the call behind a request went: `success`, `failure`, `refused` by the circuit, or empty without a call."""
    if event.call in _BROKEN or event.aborted in _BROKEN:
        return "failure"
    if event.call == CircuitOpen.code:
        return "refused"
    if event.backend is None:
        return ""
    return "failure" if event.status in FAILURE_STATUSES else "success"
