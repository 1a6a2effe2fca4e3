"""The same numbers as Prometheus reads them: totals since ever, of the whole cluster, whichever worker is asked."""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

from prometheus_client import exposition as text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from metrics import selectors
from metrics.counting.counts import Fields, buckets, merged, under
from metrics.counting.histogram import SHOWN, up_to
from metrics.read_models import CacheUsage
from metrics.runtime_access import running
from resilience.breaker.machine import State

STATES: Final = (State.CLOSED, State.HALF_OPEN, State.OPEN, State.FORCED_OPEN, State.DISABLED)
"""A circuit's state as a number is its place here."""


class Format(Enum):
    TEXT = "text/plain"
    OPENMETRICS = "application/openmetrics-text"


def negotiated(accept: str) -> Format | None:
    """What `Accept` prefers (RFC 9110 section 12.5.1), of the two formats and JSON, which is None."""
    wanted: dict[str, float] = {}
    for part in accept.lower().split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        wanted[media] = max(wanted.get(media, 0.0), _quality(parameters))
    json, anything = (wanted.get(media, 0.0) for media in ("application/json", "*/*"))
    best = max((Format.OPENMETRICS, Format.TEXT), key=lambda one: wanted.get(one.value, 0.0))
    weight = wanted.get(best.value, 0.0)
    # Browsers' libraries name JSON before text/plain, at the same weight; a scraper names no JSON.
    return best if weight > json and weight >= anything else None


def exposition(wanted: Format) -> tuple[bytes, str]:
    """The page, and its Content-Type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(families())))
    if wanted is Format.OPENMETRICS:
        page: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return page, openmetrics.CONTENT_TYPE_LATEST
    return text.generate_latest(registry), "text/plain; version=0.0.4; charset=utf-8"


class _Collected(Collector):
    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def families() -> Iterator[Metric]:
    totals, gauges = selectors.counted()
    yield _requests(totals)
    yield _durations("gateway_request_duration_seconds", "From a request's first byte to its answer's last.", totals)
    yield _durations("gateway_backend_duration_seconds", "Until a backend's headers.", totals, "backend")
    yield from _counters(totals)
    yield _decisions(totals)
    yield _lost(totals)
    yield from _states(selectors.cache_usage())
    sockets = GaugeMetricFamily("gateway_websocket_connections", "Open WebSocket connections.")
    sockets.add_metric([], gauges.get("websocket_connections", 0))
    yield sockets
    version = GaugeMetricFamily("gateway_config_version", "The version of the configuration that is being served.")
    version.add_metric([], running().reloader.status.version or 0)
    yield version


def _requests(totals: Mapping[str, Fields]) -> Metric:
    family = CounterMetricFamily(
        "gateway_requests", "Requests answered.", labels=["service", "route", "method", "status_class"]
    )
    for service, fields in totals.items():
        for labels, number in under(fields, "requests").items():
            method, status_class, route = labels.split("|", 2)
            family.add_metric([service, route, method, status_class], number)
    return family


def _durations(name: str, told: str, totals: Mapping[str, Fields], what: str = "duration") -> Metric:
    family = HistogramMetricFamily(name, told, labels=["service"])
    for service, fields in totals.items():
        counts = buckets(fields, what)
        whole = sum(counts.values())
        if whole:
            steps = [(repr(bound), up_to(counts, bound)) for bound in SHOWN]
            family.add_metric([service], [*steps, ("+Inf", whole)], fields.get(f"{what}_us", 0) / 1e6)
    return family


def _counters(totals: Mapping[str, Fields]) -> Iterator[Metric]:
    cache = CounterMetricFamily(
        "gateway_cache_requests", "Requests that reached the cache, by X-Cache.", labels=["service", "result"]
    )
    moves = CounterMetricFamily(
        "gateway_breaker_transitions", "Circuits' changes of state.", labels=["service", "from", "to"]
    )
    retries = CounterMetricFamily("gateway_retries", "Calls made again.", labels=["service"])
    targets = CounterMetricFamily(
        "gateway_target_events",
        "Targets ejected and returned, by each worker for itself; found down and up, once.",
        labels=["service", "event"],
    )
    for service, fields in totals.items():
        for result, number in under(fields, "cache").items():
            cache.add_metric([service, result], number)
        for labels, number in under(fields, "transition").items():
            moves.add_metric([service, *labels.split("|")], number)
        for event, number in under(fields, "target").items():
            targets.add_metric([service, event], number)
        retries.add_metric([service], fields.get("retries", 0))
    yield from (cache, moves, retries, targets)


def _decisions(totals: Mapping[str, Fields]) -> Metric:
    fields = merged(totals.values())
    denied = fields["code|rate_limited"]
    family = CounterMetricFamily("gateway_ratelimit", "The rate limit's decisions.", labels=["decision"])
    family.add_metric(["allowed"], sum(under(fields, "requests").values()) - denied)
    family.add_metric(["denied"], denied)
    return family


def _lost(totals: Mapping[str, Fields]) -> Metric:
    lost = under(merged(totals.values()), "lost")
    told = "Look-ups in the shared cache (get) and answers to keep there (put) that its store was not there for."
    family = CounterMetricFamily("gateway_cache_lost", told, labels=["operation"])
    for operation in ("get", "put"):
        family.add_metric([operation], lost.get(operation, 0))
    return family


def _states(usage: CacheUsage) -> Iterator[Metric]:
    held = GaugeMetricFamily("gateway_cache_bytes", "Bytes of the entries in the cache.", labels=["service"])
    entries = GaugeMetricFamily("gateway_cache_entries", "Entries in the cache.", labels=["service"])
    for service, one in usage.by_service.items():
        held.add_metric([service], one.bytes)
        entries.add_metric([service], one.entries)
    numbers = ", ".join(f"{number} {state}" for number, state in enumerate(STATES))
    states = GaugeMetricFamily("gateway_breaker_state", f"Circuits: {numbers}.", labels=["service"])
    for circuit in selectors.circuits():
        states.add_metric([circuit.service], STATES.index(State(circuit.state)))
    yield from (held, entries, states)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
