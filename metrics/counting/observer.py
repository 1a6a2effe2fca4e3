"""An Observer that counts events in this worker's memory: constant work per request, without waiting."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from metrics.counting.faults import affected, describe, fault_kind, has_failed
from metrics.counting.histogram import bucket, coarse
from metrics.counting.refetches import interval_bucket
from resilience.cache.objects import SERVICE
from resilience.durations import MINUTE
from resilience.statuses import FAILURE_STATUSES
from routing.errors import BadGateway, CircuitOpen, RequestTimeout, UpstreamTimeout
from routing.messages.outcome import OutcomeClass
from routing.observability.events import BackendEvent, BackendEventKind, Observer, Refetched, RequestFinished

KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
OTHER_METHOD: Final = "OTHER"
"""The label of every other method: clients may send arbitrary ones, and labels must be bounded."""
TRACKED_CACHE_RESULTS: Final = frozenset({"HIT", "MISS"})
"""The values of X-Cache that are also counted by path."""
LOOKUP_RESULTS: Final = frozenset({"HIT", "STALE", "REVALIDATED", "MISS"})
"""Those that are counted by route: a hit rate follows from them."""
BUFFERED_REQUESTS: Final = 64
MAX_PATHS_PER_SERVICE: Final = 100
"""Paths counted per service between two flushes that include them."""
MAX_PATH_LENGTH: Final = 200
MAX_FAULTS_PER_SERVICE: Final = 100
"""Texts of faults and callers that they hit, counted per service between two flushes."""
TARGET_EVENTS: Final = frozenset(
    {BackendEventKind.EJECTED, BackendEventKind.RETURNED, BackendEventKind.DOWN, BackendEventKind.UP}
)
CREDENTIAL_EVENTS: Final = frozenset(
    {
        BackendEventKind.CREDENTIAL_REFRESHED,
        BackendEventKind.CREDENTIAL_FAILED,
        BackendEventKind.CREDENTIAL_REJECTED,
    }
)
_CALL_FAILURES: Final = frozenset({BadGateway.code, UpstreamTimeout.code})


class CircuitTransition(NamedTuple):
    """A circuit's change of state at `at` (Unix seconds)."""

    at: float
    service: str
    before: str
    after: str
    reason: str


_GroupKey = tuple[int, str, str, str, int, str, str, str, str, bool, str]


class _RequestGroup:
    """The sums of all requests with the same labels in one minute."""

    __slots__ = ("backend_durations", "backend_seconds", "bytes", "durations", "number", "retries", "seconds")

    def __init__(self) -> None:
        self.number = 0
        self.seconds = 0.0
        self.backend_seconds = 0.0
        self.bytes = 0
        self.retries = 0
        self.durations: defaultdict[int, int] = defaultdict(int)
        self.backend_durations: defaultdict[int, int] = defaultdict(int)

    def fields(self, sample: RequestFinished) -> Iterator[tuple[str, int]]:
        """Its fields as counts.py names them. `sample` is any request of the group: it supplies the labels."""
        method = sample.method if sample.method in KNOWN_METHODS else OTHER_METHOD
        yield f"requests|{method}|{sample.status // 100}xx|{sample.route}", self.number
        yield "duration_us", round(self.seconds * 1e6)
        yield from ((f"duration|{number}", count) for number, count in self.durations.items())
        if self.backend_durations:
            yield "backend_us", round(self.backend_seconds * 1e6)
            yield from ((f"backend|{number}", count) for number, count in self.backend_durations.items())
        labels = {
            "cache": sample.cache,
            "code": sample.code,
            "aborted": sample.aborted,
            "circuit": call_outcome(sample),
            "outcome": sample.outcome,
        }
        yield from ((f"{name}|{label}", self.number) for name, label in labels.items() if label)
        if sample.service:
            yield from self._route_fields(f"{method}|{sample.route}", sample.cache)
        yield from ((name, total) for name, total in (("bytes", self.bytes), ("retries", self.retries)) if total)

    def _route_fields(self, route: str, cache: str) -> Iterator[tuple[str, int]]:
        """What is shown by route, besides `requests`. `route` is a method and a pattern."""
        yield from ((f"route_duration|{wide}|{route}", count) for wide, count in coarse(self.durations).items())
        if cache in LOOKUP_RESULTS:
            yield f"route_cache|{cache}|{route}", self.number


class MetricsObserver(Observer):
    """Counts finished requests, circuit transitions and target events until `take` collects them.

    `on_failure` is called for each failed request of a service, with the cause.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        on_failure: Callable[[RequestFinished, str], None] = lambda _event, _cause: None,
    ) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._buffer: list[RequestFinished] = []
        self._groups: dict[_GroupKey, tuple[_RequestGroup, RequestFinished]] = {}
        self._paths: defaultdict[str, Counter[tuple[int, str, str]]] = defaultdict(Counter)
        self._faults: defaultdict[str, Counter[tuple[int, str]]] = defaultdict(Counter)
        self._other: Counter[tuple[int, str, str]] = Counter()
        self._transitions: list[CircuitTransition] = []

    def finished(self, event: RequestFinished) -> None:
        """Buffer a request. Counting in batches of BUFFERED_REQUESTS halves the cost per request."""
        self._buffer.append(event)
        if len(self._buffer) >= BUFFERED_REQUESTS:
            self._count_buffer()

    def _count_buffer(self) -> None:
        buffer, self._buffer = self._buffer, []
        for event in buffer:
            self._count(event)

    def _count(self, event: RequestFinished) -> None:
        duration, backend, cache, status = event.duration, event.backend, event.cache, event.status
        minute = int((event.at + duration) // MINUTE)
        method = event.method if event.method in KNOWN_METHODS else OTHER_METHOD
        route, code, aborted, call = event.route, event.code, event.aborted, event.call
        outcome = event.outcome
        key = (minute, event.service, route, method, status, cache, code, aborted, call, backend is None, outcome)
        entry = self._groups.get(key)
        if entry is None:
            entry = self._groups[key] = (_RequestGroup(), event)
        group = entry[0]
        group.number += 1
        group.seconds += duration
        group.bytes += event.bytes
        group.retries += event.retries
        group.durations[bucket(duration)] += 1
        if backend is not None:
            group.backend_seconds += backend
            group.backend_durations[bucket(backend)] += 1
        if event.fallback:
            self._increment(event.service, f"fallback|{event.fallback}")
        if cache in TRACKED_CACHE_RESULTS and status < 400:
            self._count_path(minute, event)
        # The first three alone for all requests that are well: a call takes twice as long as they do.
        if (status >= 400 or call or outcome) and event.service and has_failed(event):
            self._count_fault(minute, event)

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        self._transitions.append(CircuitTransition(self._clock(), service, before, after, reason))
        self._increment(service, f"transition|{before}|{after}")

    def hold_off_changed(self, service: str, until: float | None, calls: str) -> None:  # noqa: ARG002 - the base class's
        self._increment(service, f"hold_off|{'lifted' if until is None else 'begun'}")

    def backend_event(self, event: BackendEvent) -> None:
        """Count a target's or a credential's event. The other kinds are part of a request, which `finished` counts."""
        if event.kind in TARGET_EVENTS:
            self._increment(event.service, f"target|{event.kind}")
        elif event.kind in CREDENTIAL_EVENTS:
            self._increment(event.service, f"credential|{event.kind.removeprefix('credential_')}")

    def refetched(self, event: Refetched) -> None:
        """Count a response that was fetched again, by route and time since the one before."""
        result = ("changed" if event.changed else "same") if event.by_policy else "theirs"
        self._increment(event.service, f"refetch|{result}|{interval_bucket(event.interval)}|{event.route}")

    def looked_up(self, hit: bool) -> None:
        """Count a lookup in the cache by Django code, which no request includes."""
        self._increment(SERVICE, "cache|HIT" if hit else "cache|MISS")

    def webhook(self, name: str, outcome: str) -> None:
        """Count what became of a webhook's delivery. `name` is empty for one that no webhook has."""
        self._increment("", f"webhook|{name}|{outcome}")

    def _increment(self, service: str, field: str) -> None:
        self._other[int(self._clock() // MINUTE), service, field] += 1

    def take(self, *, with_paths: bool = True) -> tuple[dict[str, int], list[CircuitTransition]]:
        """Return and clear the counts, by `start|service|field`, and this worker's circuit transitions.

        Those of paths, which are most of the fields, are kept unless `with_paths`.
        """
        self._count_buffer()
        groups, self._groups = self._groups, {}
        faults, self._faults = self._faults, defaultdict(Counter)
        other, self._other = self._other, Counter()
        transitions, self._transitions = self._transitions, []
        counts: Counter[str] = Counter()
        for key, (group, sample) in groups.items():
            for field, number in group.fields(sample):
                counts[f"{key[0] * MINUTE}|{sample.service}|{field}"] += number
        if with_paths:
            counts.update(self._take_paths())
        for service, found in faults.items():
            for (minute, field), number in found.items():
                counts[f"{minute * MINUTE}|{service}|{field}"] += number
        for (minute, service, field), number in other.items():
            counts[f"{minute * MINUTE}|{service}|{field}"] += number
        return dict(counts), transitions

    def _take_paths(self) -> dict[str, int]:
        paths, self._paths = self._paths, defaultdict(Counter)
        return {
            f"{minute * MINUTE}|{service}|path|{result}|{path}": number
            for service, lookups in paths.items()
            for (minute, result, path), number in lookups.items()
        }

    def _count_path(self, minute: int, event: RequestFinished) -> None:
        paths = self._paths[event.service]
        key = (minute, event.cache, event.path)
        if key in paths or (len(paths) < MAX_PATHS_PER_SERVICE and len(event.path) <= MAX_PATH_LENGTH):
            paths[key] += 1

    def _count_fault(self, minute: int, event: RequestFinished) -> None:
        cause, kind, faults = describe(event), fault_kind(event), self._faults[event.service]
        if cause:
            _add_bounded(faults, (minute, f"fault|{kind}|{cause}"))
        if event.status >= 400:
            _add_bounded(faults, (minute, f"affected|{kind}|{affected(event)}"))
        self._on_failure(event, cause)


def _add_bounded(faults: Counter[tuple[int, str]], key: tuple[int, str]) -> None:
    if key in faults or len(faults) < MAX_FAULTS_PER_SERVICE:
        faults[key] += 1


def call_outcome(event: RequestFinished) -> str:
    """The outcome of a request's backend call: `success`, `failure`, or `refused` by the circuit.

    "" without a call, and for a response whose class says that it is neither a success nor a failure.
    """
    if event.call in _CALL_FAILURES or event.aborted in _CALL_FAILURES:
        return "failure"
    if event.call == CircuitOpen.code:
        return "refused"
    if event.outcome:
        return "failure" if event.outcome == OutcomeClass.FAILED else ""
    if event.backend is None or event.call == RequestTimeout.code:
        return ""
    return "failure" if event.status in FAILURE_STATUSES else "success"
