"""Reads, for Django's threads: they block. Counts cover the whole cluster and are current to the last request."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from metrics import cluster_counts
from metrics.cache_figures import read_cache_usage
from metrics.circuit_status import circuit_status, hold_offs
from metrics.cluster_counts import CountsByService
from metrics.counting import aggregates
from metrics.counting.counts import Fields, merge_counts, with_prefix
from metrics.models import CircuitChange, Operation, TimeResolution
from metrics.read_models import (
    CacheUsage,
    CircuitStatus,
    Overview,
    PathStats,
    ServiceStatus,
    Summary,
    TargetStatus,
    TrafficStats,
)
from metrics.runtime_access import run_on_loop, running
from metrics.stats import traffic_stats
from metrics.targets.gauges import ConditionsByTarget
from metrics.targets.status import TargetConditions
from resilience.breaker.machine import Snapshot, State
from resilience.outage import StoreUnavailable
from routing.rights import Names, within
from routing.router.table import Service

RECENT_SECONDS: Final = 300
SPARKLINE_MINUTES: Final = 30
OPEN_STATES: Final = frozenset({State.OPEN, State.FORCED_OPEN})


MinuteCounts = Mapping[tuple[int, str], Fields]
"""Counts by minute (Unix seconds) and service."""


class ServiceNotConfigured(LookupError):
    """No service of this name is configured."""


class Recent(NamedTuple):
    """What was counted in the last SPARKLINE_MINUTES up to `at` (Unix seconds), and in total, since the cache's
    statistics were reset and since ever; and the condition of all targets.
    """

    at: float
    minutes: MinuteCounts
    totals: CountsByService
    ever: CountsByService
    targets: TargetConditions
    names: Names = None

    def of(self, names: Names) -> "Recent":
        """What was counted for these services alone."""
        if names is None:
            return self
        minutes = {key: fields for key, fields in self.minutes.items() if key[1] in names}
        totals, ever = (_only(counts, names) for counts in (self.totals, self.ever))
        return self._replace(minutes=minutes, totals=totals, ever=ever, names=names)


def read_recent() -> Recent:
    """One read for everything that is shown of one moment."""
    at, pending = now(), cluster_counts.pending()
    minutes = cluster_counts.last_minutes(pending.batches, at, SPARKLINE_MINUTES * 60)
    ever = cluster_counts.totals(pending.batches)
    return Recent(at, minutes, cluster_counts.since_reset(ever), ever, target_conditions(pending.gauges))


def target_conditions(gauges: Mapping[str, int] | None = None) -> TargetConditions:
    """The condition of all targets. `gauges` are the sums of all workers'."""
    return TargetConditions(cluster_counts.pending().gauges if gauges is None else gauges, run_on_loop(_conditions()))


async def _conditions() -> ConditionsByTarget:
    """On the event loop, which the balancers belong to."""
    return running().balancers.conditions()


def summary(recent: Recent | None = None) -> Summary:
    """Key figures over all services, including requests that matched none."""
    at, minutes, totals, _, _, names = recent or read_recent()
    costs, end = costs_per_call(), int(at // 60 + 1) * 60
    last = {key: fields for key, fields in minutes.items() if key[0] >= end - RECENT_SECONDS}
    requests = sum(_request_count(fields) for (start, _), fields in last.items() if start == end - 120)
    circuits = circuit_snapshots(names).items()
    return Summary(
        at=at,
        connected=running().flusher.connected,
        per_second=round(requests / 60, 2),
        open_circuits=tuple(name for name, snapshot in circuits if snapshot.state in OPEN_STATES),
        total=traffic_stats(totals, costs),
        recent=traffic_stats(cluster_counts.merge_by_service(last), costs),
    )


def service_statuses(recent: Recent | None = None) -> list[ServiceStatus]:
    """Every configured service, by name."""
    recent = recent or read_recent()
    status_of = status_reader(recent)
    return [status_of(name) for name in service_names(recent.names)]


def status_reader(recent: Recent) -> Callable[[str], ServiceStatus]:
    """A function that returns the status of a configured service."""
    at, minutes, totals, ever, targets, _ = recent
    services = configured_services()
    circuits = {circuit.service: circuit for circuit in _circuits(ever)}
    by_service: defaultdict[str, dict[int, Fields]] = defaultdict(dict)
    for (start, name), fields in minutes.items():
        by_service[name][start] = fields
    return lambda name: _status(
        services[name],
        circuits[name],
        targets.of(services[name]),
        totals=totals,
        minutes=by_service[name],
        at=at,
    )


def overview(names: Names = None) -> Overview:
    at, costs = now(), costs_per_call()
    totals = _only(cluster_counts.totals_since_reset(cluster_counts.pending_batches()), names)
    configured = service_names(names)
    return Overview(
        at=at,
        cache=read_cache_usage(configured, totals),
        circuits={circuit.service: circuit for circuit in _circuits(totals, names)},
        services={name: _service_stats(name, totals, costs) for name in sorted({*totals, *configured})},
    )


def circuits(names: Names = None) -> list[CircuitStatus]:
    """Every service's circuit, by name, from this worker's copy of the cluster's state."""
    return _circuits(cluster_counts.totals(cluster_counts.pending_batches()), names)


def circuits_are_shared() -> bool:
    """Whether what is done to a circuit holds in all workers: while Redis is unavailable, in this one alone."""
    return not running().breakers.degraded


def circuit_transitions(service: str | None = None, since: float = 0, limit: int = 200) -> Sequence[CircuitChange]:
    """The latest transitions since `since` (Unix seconds), newest first."""
    transitions = CircuitChange.objects.filter(at__gte=datetime.fromtimestamp(since, UTC))
    return list((transitions if service is None else transitions.filter(service=service))[:limit])


def cache_usage(names: Names = None) -> CacheUsage:
    """The cache's contents, and its hits and misses since the statistics were reset."""
    totals = cluster_counts.totals_since_reset(cluster_counts.pending_batches())
    return read_cache_usage(service_names(names), _only(totals, names))


def top_paths(service: str | None = None, *, limit: int = 20, hits: bool = True) -> list[PathStats]:
    """The paths with the most cache hits in the last 24 hours; with `hits=False`, those with the most misses.

    Approximate: workers and rows keep a limited number of paths.
    """
    end = int(now() // 3_600 + 1) * 3_600
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    rows = aggregates.iterate_counts(
        cluster_counts.pending_batches(), TimeResolution.HOUR, end - 86_400, end, service, with_paths=True
    )
    for _, _, fields in rows:
        for labels, number in with_prefix(fields, "path").items():
            result, _, path = labels.partition("|")
            counts[path][result] += number
    paths = [PathStats(path=path, hits=results["HIT"], misses=results["MISS"]) for path, results in counts.items()]
    paths.sort(key=lambda stats: (-(stats.hits if hits else stats.misses), stats.path))
    return [stats for stats in paths if (stats.hits if hits else stats.misses)][:limit]


def operations(limit: int = 100, service: str | None = None) -> Sequence[Operation]:
    """The latest entries of the audit log, newest first."""
    entries = Operation.objects.all()
    return list((entries if service is None else entries.filter(service=service))[:limit])


def now() -> float:
    """Unix seconds."""
    return running().flusher.now()


def service_names(names: Names = None) -> list[str]:
    """The configured services among these, in order."""
    return sorted(name for name in configured_services() if within(name, names))


def webhook_queue() -> int | None:
    """The number of deliveries of webhooks whose work is not done; None if the queue is unavailable."""
    try:
        return run_on_loop(running().deliveries.queue.depth())
    except StoreUnavailable:
        return None


def get_service(name: str) -> Service:
    """The service from the table in use. Raises ServiceNotConfigured."""
    service = configured_services().get(name)
    if service is None:
        raise ServiceNotConfigured(name)
    return service


def configured_services() -> Mapping[str, Service]:
    return running().gateway.live.table.services


def costs_per_call() -> dict[str, float]:
    """The cost of a call in US dollars, by service."""
    return {name: service.policy.cost_per_call for name, service in configured_services().items()}


def _only(counts: CountsByService, names: Names) -> CountsByService:
    return counts if names is None else {name: fields for name, fields in counts.items() if name in names}


def _request_count(fields: Fields) -> int:
    return sum(with_prefix(fields, "requests").values())


def _service_stats(name: str, totals: CountsByService, costs: Mapping[str, float]) -> TrafficStats:
    return traffic_stats({name: totals.get(name, Counter())}, costs)


def _status(
    service: Service,
    circuit: CircuitStatus,
    targets: tuple[TargetStatus, ...],
    *,
    totals: CountsByService,
    minutes: Mapping[int, Fields],
    at: float,
) -> ServiceStatus:
    end, costs = int(at // 60 + 1) * 60, {service.name: service.policy.cost_per_call}
    recent = merge_counts(fields for start, fields in minutes.items() if start >= end - RECENT_SECONDS)
    starts = range(end - SPARKLINE_MINUTES * 60, end, 60)
    return ServiceStatus(
        name=service.name,
        enabled=service.policy.enabled,
        targets=targets,
        circuit=circuit,
        total=_service_stats(service.name, totals, costs),
        recent=traffic_stats({service.name: recent}, costs),
        sparkline=tuple(_request_count(minutes.get(start, {})) for start in starts),
        faults=service.faults,
        is_out=service.is_out,
        labels=dict(service.labels),
    )


def _circuits(totals: Mapping[str, Fields], names: Names = None) -> list[CircuitStatus]:
    held, quotas = hold_offs(), run_on_loop(running().quotas.load())
    return [
        circuit_status(
            name,
            snapshot,
            totals.get(name, {}),
            held.get(name, []),
            {quota: number for (service, quota), number in quotas.items() if service == name},
        )
        for name, snapshot in circuit_snapshots(names).items()
    ]


def circuit_snapshots(names: Names = None) -> dict[str, Snapshot]:
    """The state of every service's circuit as this worker knows it, by name."""
    known = {breaker.name: breaker.snapshot for breaker in running().breakers}
    return {name: known.get(name, Snapshot()) for name in service_names(names)}
