"""Metrics in Prometheus and OpenMetrics format: totals of the whole cluster, identical from every worker."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Final, TypeVar

import msgspec
from django.db import DatabaseError
from prometheus_client import exposition as text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from metrics import cluster_counts, selectors
from metrics.counting.counts import Fields, buckets, merge_counts, with_prefix
from metrics.counting.histogram import PROMETHEUS_BOUNDS, count_at_most
from metrics.infrastructure import families as infrastructure_families
from metrics.infrastructure.redis import RedisStatus, read_status
from metrics.media_ranges import media_ranges
from metrics.objectives import current
from metrics.objectives import families as objective_families
from metrics.read_models import CircuitStatus, ServiceCache
from metrics.runtime_access import run_on_loop, running
from metrics.watch_status import WatchStatus, watch_statuses
from resilience.breaker.machine import State

T = TypeVar("T")
STATES: Final = (State.CLOSED, State.HALF_OPEN, State.OPEN, State.FORCED_OPEN, State.DISABLED)
"""The value of gateway_breaker_state is a state's index in this list."""
TRANSITIONS: Final = (
    (State.CLOSED, State.OPEN),
    (State.OPEN, State.HALF_OPEN),
    (State.HALF_OPEN, State.OPEN),
    (State.HALF_OPEN, State.CLOSED),
)
"""Those that a circuit makes by itself: exported before the first, which `increase()` would not see otherwise."""


class Format(Enum):
    TEXT = "text/plain"
    OPENMETRICS = "application/openmetrics-text"


def negotiate(accept: str) -> Format | None:
    """The format that `Accept` prefers (RFC 9110 section 12.5.1); None for JSON."""
    weights = media_ranges(accept)
    json, anything = (weights.get(media, 0.0) for media in ("application/json", "*/*"))
    best = max((Format.OPENMETRICS, Format.TEXT), key=lambda each: weights.get(each.value, 0.0))
    weight = weights.get(best.value, 0.0)
    # On equal weights JSON wins: HTTP libraries in browsers list both, scrapers do not list JSON.
    return best if weight > json and weight >= anything else None


def exposition(output: Format) -> tuple[bytes, str]:
    """The metrics page and its Content-Type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(list(families())))
    if output is Format.OPENMETRICS:
        page: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call] # the library has no types
        return page, openmetrics.CONTENT_TYPE_LATEST
    return text.generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8"


class _Page(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class MetricsSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics are made of. `webhook_queue` and `watches` are None while unreadable, `redis` without one."""

    totals: Mapping[str, Fields] = {}
    gauges: Mapping[str, int] = {}
    redis: RedisStatus | None = None
    webhook_queue: int | None = 0
    watches: list[WatchStatus] | None = []
    caches: Mapping[str, ServiceCache] = {}
    circuits: Iterable[CircuitStatus] = ()
    objectives: objective_families.Objectives = {}
    version: int = 0
    validity: Mapping[str, bool] = {}
    """Whether the configuration of each service can be loaded."""


def families() -> Iterator[Metric]:
    """All metrics of the running gateway."""
    return render(_take_snapshot())


def describe() -> list[Metric]:
    """All metrics, with their labels and descriptions, as a gateway without services has them."""
    return list(render(MetricsSnapshot()))


def _take_snapshot() -> MetricsSnapshot:
    totals, gauges = cluster_counts.totals_and_gauges()
    gateway = running()
    return MetricsSnapshot(
        totals=totals,
        gauges=gauges,
        redis=run_on_loop(read_status(gateway.redis)) if gateway.redis else None,
        webhook_queue=selectors.webhook_queue(),
        watches=_read(watch_statuses),
        caches=selectors.cache_usage().by_service,
        circuits=selectors.circuits(),
        objectives=_read(current.objectives) or {},
        version=gateway.reloader.status.version or 0,
        validity={name: not service.faults for name, service in gateway.gateway.live.table.services.items()},
    )


def _read(read: Callable[[], T]) -> T | None:
    """What `read` returns; None while the database is unavailable."""
    try:
        return read()
    except DatabaseError:
        return None


def render(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    totals = snapshot.totals
    yield _request_totals(totals)
    help_text = "Time from a request's first byte to its response's last byte."
    yield _durations("gateway_request_duration_seconds", help_text, totals)
    help_text = "Time until a backend's response headers."
    yield _durations("gateway_backend_duration_seconds", help_text, totals, "backend")
    yield from _counters(totals)
    yield from _outcomes(totals)
    yield _rate_limit_decisions(totals)
    yield _lost_cache_operations(totals)
    yield from _webhooks(totals, snapshot.webhook_queue)
    yield from _watches(snapshot.watches)
    yield from _caches(snapshot.caches)
    yield from _circuits(totals, snapshot.circuits)
    yield from objective_families.render(snapshot.objectives)
    yield from infrastructure_families.render(snapshot.gauges, snapshot.redis)
    yield from _configuration(snapshot)


def _configuration(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    version = GaugeMetricFamily("gateway_config_version", "Version of the configuration in use.")
    version.add_metric([], snapshot.version)
    yield version
    valid = GaugeMetricFamily(
        "gateway_service_config_valid", "1 if the service's configuration can be loaded, else 0.", labels=["service"]
    )
    for name, is_valid in snapshot.validity.items():
        valid.add_metric([name], int(is_valid))
    yield valid


def _request_totals(totals: Mapping[str, Fields]) -> Metric:
    family = CounterMetricFamily(
        "gateway_requests", "Finished requests.", labels=["service", "route", "method", "status_class"]
    )
    for service, fields in totals.items():
        for labels, number in with_prefix(fields, "requests").items():
            method, status_class, route = labels.split("|", 2)
            family.add_metric([service, route, method, status_class], number)
    return family


def _durations(name: str, help_text: str, totals: Mapping[str, Fields], field: str = "duration") -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=["service"])
    for service, fields in totals.items():
        counts = buckets(fields, field)
        count = sum(counts.values())
        if count:
            steps = [(repr(bound), count_at_most(counts, bound)) for bound in PROMETHEUS_BOUNDS]
            family.add_metric([service], [*steps, ("+Inf", count)], fields.get(f"{field}_us", 0) / 1e6)
    return family


def _counters(totals: Mapping[str, Fields]) -> Iterator[Metric]:
    cache = CounterMetricFamily(
        "gateway_cache_requests", "Requests that reached the cache, by X-Cache value.", labels=["service", "result"]
    )
    retries = CounterMetricFamily("gateway_retries", "Retried backend calls.", labels=["service"])
    fallbacks = CounterMetricFamily(
        "gateway_fallbacks", "Responses of another service, the fallback.", labels=["service", "fallback"]
    )
    targets = CounterMetricFamily(
        "gateway_target_events",
        "Targets ejected and returned (counted by each worker), and marked down and up by health checks.",
        labels=["service", "event"],
    )
    credentials = CounterMetricFamily(
        "gateway_credential_refreshes",
        "Requests for access tokens of services' credentials, by result: refreshed or failed.",
        labels=["service", "result"],
    )
    for service, fields in totals.items():
        for result, number in with_prefix(fields, "credential").items():
            credentials.add_metric([service, result], number)
        for result, number in with_prefix(fields, "cache").items():
            cache.add_metric([service, result], number)
        for event, number in with_prefix(fields, "target").items():
            targets.add_metric([service, event], number)
        for other, number in with_prefix(fields, "fallback").items():
            fallbacks.add_metric([service, other], number)
        retries.add_metric([service], fields.get("retries", 0))
    yield from (cache, retries, fallbacks, targets, credentials)


def _outcomes(totals: Mapping[str, Fields]) -> Iterator[Metric]:
    outcomes = CounterMetricFamily("gateway_outcomes", "Responses of backends by class.", labels=["service", "outcome"])
    hold_offs = CounterMetricFamily(
        "gateway_hold_offs", "Hold-offs after a backend has limited calls.", labels=["service", "event"]
    )
    for service, fields in totals.items():
        for outcome, number in with_prefix(fields, "outcome").items():
            outcomes.add_metric([service, outcome], number)
        for event, number in with_prefix(fields, "hold_off").items():
            hold_offs.add_metric([service, event], number)
    yield from (outcomes, hold_offs)


def _rate_limit_decisions(totals: Mapping[str, Fields]) -> Metric:
    fields = merge_counts(totals.values())
    denied = fields["code|rate_limited"]
    family = CounterMetricFamily("gateway_ratelimit", "Rate limit decisions.", labels=["decision"])
    family.add_metric(["allowed"], sum(with_prefix(fields, "requests").values()) - denied)
    family.add_metric(["denied"], denied)
    return family


def _lost_cache_operations(totals: Mapping[str, Fields]) -> Metric:
    lost = with_prefix(merge_counts(totals.values()), "lost")
    help_text = (
        "Lookups in the shared cache (get) and responses to store in it (put) lost while it was unavailable, and "
        "stored responses (entry) that were not served because Redis may have evicted their index."
    )
    family = CounterMetricFamily("gateway_cache_lost", help_text, labels=["operation"])
    for operation in ("get", "put", "entry"):
        family.add_metric([operation], lost.get(operation, 0))
    return family


def _webhooks(totals: Mapping[str, Fields], depth: int | None) -> Iterator[Metric]:
    help_text = "Deliveries of webhooks, by what became of them; those of no webhook have an empty name."
    family = CounterMetricFamily("gateway_webhooks", help_text, labels=["webhook", "outcome"])
    for labels, number in with_prefix(merge_counts(totals.values()), "webhook").items():
        family.add_metric(labels.split("|", 1), number)
    yield family
    if depth is not None:
        queue = GaugeMetricFamily("gateway_webhook_queue", "Deliveries of webhooks whose work is not done.")
        queue.add_metric([], depth)
        yield queue


def _watches(statuses: Iterable[WatchStatus] | None) -> Iterator[Metric]:
    """Yields nothing while the database is unavailable."""
    if statuses is None:
        return
    help_text = "Seconds until the first of a webhook's watches ends, if it is not renewed; negative if one has ended."
    left = GaugeMetricFamily("gateway_watch_seconds_left", help_text, labels=["webhook"])
    watches = GaugeMetricFamily("gateway_watches", "Watches of webhooks, by state.", labels=["webhook", "state"])
    for status in statuses:
        left.add_metric([status.webhook], status.seconds_left)
        for state, number in status.states.items():
            watches.add_metric([status.webhook, state.value], number)
    yield from (left, watches)


def _caches(caches: Mapping[str, ServiceCache]) -> Iterator[Metric]:
    size = GaugeMetricFamily("gateway_cache_bytes", "Size of the cache entries in bytes.", labels=["service"])
    entries = GaugeMetricFamily("gateway_cache_entries", "Number of cache entries.", labels=["service"])
    for service, cache in caches.items():
        size.add_metric([service], cache.bytes)
        entries.add_metric([service], cache.entries)
    yield from (size, entries)


def _circuits(totals: Mapping[str, Fields], circuits: Iterable[CircuitStatus]) -> Iterator[Metric]:
    numbers = ", ".join(f"{number} {state}" for number, state in enumerate(STATES))
    states = GaugeMetricFamily("gateway_breaker_state", f"State of the circuit breaker: {numbers}.", labels=["service"])
    quotas = GaugeMetricFamily(
        "gateway_backend_quota_remaining", "What backends say remains of their limits.", labels=["service", "quota"]
    )
    transitions = CounterMetricFamily(
        "gateway_breaker_transitions", "State transitions of circuit breakers.", labels=["service", "from", "to"]
    )
    made: dict[tuple[str, str], int] = {}
    for circuit in circuits:
        states.add_metric([circuit.service], STATES.index(State(circuit.state)))
        for quota, number in circuit.quotas.items():
            quotas.add_metric([circuit.service, quota], number)
        made |= {(circuit.service, f"{before}|{after}"): 0 for before, after in TRANSITIONS}
    for service, fields in totals.items():
        made |= {(service, labels): number for labels, number in with_prefix(fields, "transition").items()}
    for (service, labels), number in made.items():
        transitions.add_metric([service, *labels.split("|")], number)
    yield from (states, quotas, transitions)
