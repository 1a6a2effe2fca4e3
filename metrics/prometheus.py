"""Metrics in Prometheus and OpenMetrics format: totals of the whole cluster, identical from every worker."""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

from django.db import DatabaseError
from prometheus_client import exposition as text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from metrics import cluster_counts, selectors
from metrics.counting.counts import Fields, buckets, merge_counts, with_prefix
from metrics.counting.histogram import PROMETHEUS_BOUNDS, count_at_most
from metrics.read_models import CacheUsage
from metrics.runtime_access import running
from metrics.watch_status import watch_statuses
from resilience.breaker.machine import State

STATES: Final = (State.CLOSED, State.HALF_OPEN, State.OPEN, State.FORCED_OPEN, State.DISABLED)
"""The value of gateway_breaker_state is a state's index in this list."""


MAX_MEDIA_RANGES: Final = 64
"""Members of `Accept` that are read."""


class Format(Enum):
    TEXT = "text/plain"
    OPENMETRICS = "application/openmetrics-text"


def negotiate(accept: str) -> Format | None:
    """The format that `Accept` prefers (RFC 9110 section 12.5.1); None for JSON."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(",", MAX_MEDIA_RANGES)[:MAX_MEDIA_RANGES]:
        media, *parameters = (piece.strip() for piece in part.split(";"))
        weights[media] = max(weights.get(media, 0.0), _quality(parameters))
    json, anything = (weights.get(media, 0.0) for media in ("application/json", "*/*"))
    best = max((Format.OPENMETRICS, Format.TEXT), key=lambda each: weights.get(each.value, 0.0))
    weight = weights.get(best.value, 0.0)
    # On equal weights JSON wins: HTTP libraries in browsers list both, scrapers do not list JSON.
    return best if weight > json and weight >= anything else None


def exposition(output: Format) -> tuple[bytes, str]:
    """The metrics page and its Content-Type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(list(families())))
    if output is Format.OPENMETRICS:
        page: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return page, openmetrics.CONTENT_TYPE_LATEST
    return text.generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8"


class _Snapshot(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def families() -> Iterator[Metric]:
    totals, gauges = cluster_counts.totals_and_gauges()
    yield _request_totals(totals)
    help_text = "Time from a request's first byte to its response's last byte."
    yield _durations("gateway_request_duration_seconds", help_text, totals)
    help_text = "Time until a backend's response headers."
    yield _durations("gateway_backend_duration_seconds", help_text, totals, "backend")
    yield from _counters(totals)
    yield from _outcomes(totals)
    yield _rate_limit_decisions(totals)
    yield _lost_cache_operations(totals)
    yield from _webhooks(totals)
    yield from _watches()
    yield from _cache_and_circuits(selectors.cache_usage())
    sockets = GaugeMetricFamily("gateway_websocket_connections", "Open WebSocket connections.")
    sockets.add_metric([], gauges.get("websocket_connections", 0))
    yield sockets
    calls = GaugeMetricFamily("gateway_calls_in_flight", "Calls to backends that have a slot of a bulkhead.")
    calls.add_metric([], gauges.get("calls_in_flight", 0))
    yield calls
    version = GaugeMetricFamily("gateway_config_version", "Version of the configuration in use.")
    version.add_metric([], running().reloader.status.version or 0)
    yield version
    valid = GaugeMetricFamily(
        "gateway_service_config_valid", "1 if the service's configuration can be loaded, else 0.", labels=["service"]
    )
    for name, service in running().gateway.live.table.services.items():
        valid.add_metric([name], 0 if service.faults else 1)
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
    transitions = CounterMetricFamily(
        "gateway_breaker_transitions", "State transitions of circuit breakers.", labels=["service", "from", "to"]
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
        for labels, number in with_prefix(fields, "transition").items():
            transitions.add_metric([service, *labels.split("|")], number)
        for event, number in with_prefix(fields, "target").items():
            targets.add_metric([service, event], number)
        for other, number in with_prefix(fields, "fallback").items():
            fallbacks.add_metric([service, other], number)
        retries.add_metric([service], fields.get("retries", 0))
    yield from (cache, transitions, retries, fallbacks, targets, credentials)


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


def _webhooks(totals: Mapping[str, Fields]) -> Iterator[Metric]:
    help_text = "Deliveries of webhooks, by what became of them; those of no webhook have an empty name."
    family = CounterMetricFamily("gateway_webhooks", help_text, labels=["webhook", "outcome"])
    for labels, number in with_prefix(merge_counts(totals.values()), "webhook").items():
        family.add_metric(labels.split("|", 1), number)
    yield family
    depth = selectors.webhook_queue()
    if depth is not None:
        queue = GaugeMetricFamily("gateway_webhook_queue", "Deliveries of webhooks whose work is not done.")
        queue.add_metric([], depth)
        yield queue


def _watches() -> Iterator[Metric]:
    """Nothing while the database is away."""
    help_text = "Seconds until the first of a webhook's watches ends, if it is not renewed; negative if one has ended."
    left = GaugeMetricFamily("gateway_watch_seconds_left", help_text, labels=["webhook"])
    watches = GaugeMetricFamily("gateway_watches", "Watches of webhooks, by state.", labels=["webhook", "state"])
    try:
        statuses = watch_statuses()
    except DatabaseError:
        return
    for status in statuses:
        left.add_metric([status.webhook], status.seconds_left)
        for state, number in status.states.items():
            watches.add_metric([status.webhook, state.value], number)
    yield from (left, watches)


def _cache_and_circuits(usage: CacheUsage) -> Iterator[Metric]:
    size = GaugeMetricFamily("gateway_cache_bytes", "Size of the cache entries in bytes.", labels=["service"])
    entries = GaugeMetricFamily("gateway_cache_entries", "Number of cache entries.", labels=["service"])
    for service, cache in usage.by_service.items():
        size.add_metric([service], cache.bytes)
        entries.add_metric([service], cache.entries)
    numbers = ", ".join(f"{number} {state}" for number, state in enumerate(STATES))
    states = GaugeMetricFamily("gateway_breaker_state", f"State of the circuit breaker: {numbers}.", labels=["service"])
    quotas = GaugeMetricFamily(
        "gateway_backend_quota_remaining", "What backends say remains of their limits.", labels=["service", "quota"]
    )
    for circuit in selectors.circuits():
        states.add_metric([circuit.service], STATES.index(State(circuit.state)))
        for quota, number in circuit.quotas.items():
            quotas.add_metric([circuit.service, quota], number)
    yield from (size, entries, states, quotas)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
