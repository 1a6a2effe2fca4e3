"""Reads: blocking, for Django's threads. Numbers are the whole cluster's, with what this worker has just counted."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from metrics.counting import aggregates
from metrics.counting.counts import CountBatch, Fields, merged, under
from metrics.models import CircuitChange, Operation, TimeResolution
from metrics.read_models import (
    CacheUsage,
    CircuitStatus,
    Overview,
    PathStats,
    Point,
    ServiceCache,
    ServiceStatus,
    Summary,
)
from metrics.runtime_access import run_on_loop, running
from metrics.stats import hits_and_misses, rate, traffic_stats
from resilience.breaker.machine import Snapshot, State
from resilience.cache.service import SERVICE
from resilience.cache.store import Usage
from resilience.outage import StoreUnavailable
from routing.router.table import Service

RECENT_SECONDS: Final = 300
SPARKS: Final = 30
"""Minutes in a sparkline."""
MOST_POINTS: Final = 2_000
"""Steps of a history that are answered at once."""
STOPPED: Final = frozenset({State.OPEN, State.FORCED_OPEN})

ByService = dict[str, Counter[str]]


class ServiceNotConfigured(LookupError):
    """No service of this name is configured."""


def summary() -> Summary:
    """What matters now, over all services and the requests that reached none."""
    at, waiting, costs = now(), _waiting(), _costs()
    minutes = _minutes(waiting, at, RECENT_SECONDS)
    last = int(at // 60 - 1) * 60
    requests = sum(_requests(fields) for (start, _), fields in minutes.items() if start == last)
    return Summary(
        at=at,
        connected=running().flusher.connected,
        per_second=round(requests / 60, 2),
        open_circuits=tuple(circuit.service for circuit in circuits() if circuit.state in STOPPED),
        total=traffic_stats(_since_reset(waiting), costs),
        recent=traffic_stats(_by_service(minutes), costs),
    )


def services() -> list[ServiceStatus]:
    """Every configured service, by name."""
    at, waiting = now(), _waiting()
    totals, minutes = _since_reset(waiting), _minutes(waiting, at, SPARKS * 60)
    known = {circuit.service: circuit for circuit in _circuits(_totals(waiting))}
    return [_reading(one, known[name], totals, minutes, at) for name, one in sorted(_table().items())]


def service(name: str) -> ServiceStatus:
    """One service. Raises UnknownService."""
    configured(name)
    return next(reading for reading in services() if reading.name == name)


def history(service: str | None, start: float, end: float, step: int) -> list[Point]:
    """From `start` to `end` (Unix seconds) in steps of `step` seconds; `service` None is all of them together.

    Steps without a request are there, with zeros; a step is at least as long as what is kept of that time, and
    begins at a multiple of itself. Raises UnknownService, and ValueError for a span that makes no sense.
    """
    if service:
        configured(service)
    resolution = _resolution(start, step)
    unit = aggregates.SECONDS[resolution]
    step = max(unit, step // unit * unit)
    begin = int(start // step) * step
    starts = range(begin, max(begin, int(end)), step)
    if start >= end or not 0 < len(starts) <= MOST_POINTS:
        raise ValueError(f"from must be before to, with at most {MOST_POINTS} steps between")
    rows = aggregates.read(_waiting(), resolution, begin, starts[-1] + step, service)
    steps: defaultdict[int, ByService] = defaultdict(dict)
    for (at, whose), fields in rows.items():
        bins = steps[at // step * step]
        bins[whose] = merged([bins.get(whose, {}), fields])
    costs = _costs()
    return [Point(start=at, stats=traffic_stats(steps.get(at, {}), costs)) for at in starts]


def overview() -> Overview:
    """Everything, from one reading."""
    at, totals, costs = now(), _since_reset(_waiting()), _costs()
    names = sorted({*totals, *_table()})
    return Overview(
        at=at,
        cache=_cache_usage(totals),
        circuits={circuit.service: circuit for circuit in _circuits(totals)},
        services={name: traffic_stats({name: totals.get(name, Counter())}, costs) for name in names},
    )


def circuits() -> list[CircuitStatus]:
    """Every service's circuit, by name, as this worker's mirror knows it: the cluster's state, a moment old at most."""
    return _circuits(_totals(_waiting()))


def circuit_transitions(service: str | None = None, since: float = 0, limit: int = 200) -> Sequence[CircuitChange]:
    """The circuits' latest moves since `since` (Unix seconds), newest first."""
    moves = CircuitChange.objects.filter(at__gte=datetime.fromtimestamp(since, UTC))
    return list((moves if service is None else moves.filter(service=service))[:limit])


def cache_usage() -> CacheUsage:
    """What the cache holds, and hits and misses since the statistics were last reset."""
    return _cache_usage(_since_reset(_waiting()))


def _cache_usage(totals: Mapping[str, Fields]) -> CacheUsage:
    names = sorted({*_table(), *({SERVICE} & totals.keys())})  # the values of Python code, where it has asked for any
    usage = run_on_loop(_usage(names))
    by_service = {name: _service_cache(totals.get(name, {}), (usage or {}).get(name)) for name in names}
    hits, misses = hits_and_misses(under(merged(totals.values()), "cache"))
    return CacheUsage(
        connected=usage is not None,
        hits=hits,
        misses=misses,
        hit_rate=rate(hits, misses),
        entries=sum(one.entries for one in by_service.values()),
        bytes=sum(one.bytes for one in by_service.values()),
        by_service=by_service,
    )


def top_paths(service: str | None = None, *, limit: int = 20, hits: bool = True) -> list[PathStats]:
    """The paths most often answered from the cache in the last day, or with `hits=False` most often not.

    Close, not exact: a worker notes so many paths a second, and a row keeps the most frequent.
    """
    end = int(now() // 3_600 + 1) * 3_600
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for fields in aggregates.read(_waiting(), TimeResolution.HOUR, end - 86_400, end, service).values():
        for labels, number in under(fields, "path").items():
            word, _, path = labels.partition("|")
            found[path][word] += number
    readings = [PathStats(path=path, hits=one["HIT"], misses=one["MISS"]) for path, one in found.items()]
    readings.sort(key=lambda reading: (-(reading.hits if hits else reading.misses), reading.path))
    return [reading for reading in readings if (reading.hits if hits else reading.misses)][:limit]


def operations(limit: int = 100, service: str | None = None) -> Sequence[Operation]:
    """The latest operations, newest first."""
    found = Operation.objects.all()
    return list((found if service is None else found.filter(service=service))[:limit])


def now() -> float:
    """Unix seconds."""
    return running().flusher.now()


def configured(name: str) -> Service:
    """The service as it is being served. Raises UnknownService."""
    found = _table().get(name)
    if found is None:
        raise ServiceNotConfigured(name)
    return found


def counted() -> tuple[ByService, dict[str, int]]:
    """Raw totals since ever by service, never reset; and the gauges of all workers."""
    waiting = run_on_loop(running().flusher.pending())
    return _totals(waiting.batches), waiting.gauges


def cache_counts() -> dict[str, Fields]:
    """What each service's cache has counted since ever: what a reset is measured from."""
    return {name: _cache_fields(fields) for name, fields in _totals(_waiting()).items()}


def _table() -> Mapping[str, Service]:
    return running().gateway.live.table.services


def _waiting() -> tuple[CountBatch, ...]:
    return run_on_loop(running().flusher.pending()).batches


def _costs() -> dict[str, float]:
    return {name: one.policy.cost_per_call for name, one in _table().items()}


def _totals(waiting: Iterable[CountBatch]) -> ByService:
    return {name: fields for (_, name), fields in aggregates.read(waiting, TimeResolution.TOTAL).items()}


def _since_reset(waiting: Iterable[CountBatch]) -> ByService:
    """Totals, with what the cache counted before the last reset left out."""
    totals = _totals(waiting)
    for (_, name), before in aggregates.read((), TimeResolution.RESET).items():
        totals.get(name, Counter()).subtract(before)
    return totals


def _minutes(waiting: Iterable[CountBatch], at: float, seconds: int) -> dict[tuple[int, str], Counter[str]]:
    end = int(at // 60 + 1) * 60
    return aggregates.read(waiting, TimeResolution.MINUTE, end - seconds, end)


def _by_service(rows: Mapping[tuple[int, str], Fields]) -> ByService:
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for (_, name), fields in rows.items():
        found[name].update(fields)
    return dict(found)


def _requests(fields: Fields) -> int:
    return sum(under(fields, "requests").values())


def _cache_fields(fields: Fields) -> dict[str, int]:
    return {field: number for field, number in fields.items() if field.startswith("cache|")}


def _resolution(start: float, step: int) -> TimeResolution:
    """The finest that is kept for that long, and is not finer than needed."""
    age = now() - start
    for resolution, coarser in ((TimeResolution.MINUTE, 3_600), (TimeResolution.HOUR, 86_400)):
        if step < coarser and age <= aggregates.KEPT[resolution].total_seconds():
            return resolution
    return TimeResolution.DAY


def _reading(
    one: Service, circuit: CircuitStatus, totals: ByService, minutes: Mapping[tuple[int, str], Fields], at: float
) -> ServiceStatus:
    mine = {start: fields for (start, name), fields in minutes.items() if name == one.name}
    end, costs = int(at // 60 + 1) * 60, {one.name: one.policy.cost_per_call}
    recent = merged(fields for start, fields in mine.items() if start >= end - RECENT_SECONDS)
    return ServiceStatus(
        name=one.name,
        enabled=one.policy.enabled,
        targets=tuple(target.url for target in one.targets),
        circuit=circuit,
        total=traffic_stats({one.name: totals.get(one.name, Counter())}, costs),
        recent=traffic_stats({one.name: recent}, costs),
        sparkline=tuple(_requests(mine.get(start, {})) for start in range(end - SPARKS * 60, end, 60)),
    )


def _circuits(totals: Mapping[str, Fields]) -> list[CircuitStatus]:
    mirrors = {breaker.name: breaker.snapshot for breaker in running().breakers}
    return [_circuit(name, mirrors.get(name, Snapshot()), totals.get(name, {})) for name in sorted(_table())]


def _circuit(name: str, snapshot: Snapshot, fields: Fields) -> CircuitStatus:
    calls = under(fields, "circuit")
    return CircuitStatus(
        service=name,
        state=snapshot.state.value,
        failures=calls.get("failure", 0),
        successes=calls.get("success", 0),
        total_requests=sum(calls.values()),
        until=snapshot.until,
        reason=snapshot.reason,
    )


async def _usage(names: Sequence[str]) -> dict[str, Usage] | None:
    """None when the store cannot be asked."""
    cache = running().cache
    try:
        found = await asyncio.gather(*(cache.usage(name) for name in names))
    except StoreUnavailable:
        return None
    return dict(zip(names, found, strict=True))


def _service_cache(fields: Fields, usage: Usage | None) -> ServiceCache:
    hits, misses = hits_and_misses(under(fields, "cache"))
    held = usage or Usage(0, 0)
    return ServiceCache(hits=hits, misses=misses, hit_rate=rate(hits, misses), entries=held.entries, bytes=held.bytes)
