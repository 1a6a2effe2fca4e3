"""Traffic statistics from counts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from metrics.counting.counts import Fields, merge_counts, with_prefix
from metrics.counting.histogram import quantiles
from metrics.read_models import RequestStats, TrafficStats

HIT_RESULTS: Final = frozenset({"HIT", "STALE", "REVALIDATED"})
"""Values of X-Cache for responses whose body came from the cache."""
SAVED_RESULTS: Final = frozenset({"HIT", "STALE"})
"""Those for which no backend call was needed."""
SHARES: Final = (0.5, 0.95, 0.99)


def request_stats(fields: Fields) -> RequestStats:
    """The statistics of one service, or of the sums over all."""
    return RequestStats(**_request_figures(_by_name(fields)))


def traffic_stats(by_service: Mapping[str, Fields], costs: Mapping[str, float]) -> TrafficStats:
    """The counts of several services as one set of statistics. `costs` are US dollars per call, by service."""
    fields = merge_counts(by_service.values())
    named = _by_name(fields)
    backend_p50, backend_p95, backend_p99 = quantiles(_buckets(named["backend"]), SHARES)
    saved = {name: saved_calls(of) for name, of in by_service.items()}
    return TrafficStats(
        **_request_figures(named),
        status_classes=_classes(named["requests"]),
        refused=named["circuit"].get("refused", 0),
        aborted=sum(named["aborted"].values()),
        bytes=fields["bytes"],
        backend_p50=backend_p50,
        backend_p95=backend_p95,
        backend_p99=backend_p99,
        saved_calls=sum(saved.values()),
        saved_seconds=round(sum(calls * mean_call(by_service[name]) for name, calls in saved.items()), 3),
        saved_usd=round(sum(calls * costs.get(name, 0.0) for name, calls in saved.items()), 6),
    )


def _request_figures(named: defaultdict[str, dict[str, int]]) -> dict[str, Any]:
    """The fields of RequestStats."""
    classes = _classes(named["requests"])
    hits, misses = hits_and_misses(named["cache"])
    p50, p95, p99 = quantiles(_buckets(named["duration"]), SHARES)
    return {
        "requests": sum(classes.values()),
        "errors": classes.get("5xx", 0),
        "hits": hits,
        "misses": misses,
        "hit_rate": hit_rate(hits, misses),
        "rate_limited": named["code"].get("rate_limited", 0),
        "p50": p50,
        "p95": p95,
        "p99": p99,
    }


def _by_name(fields: Fields) -> defaultdict[str, dict[str, int]]:
    """The counts by name and label, in one pass, since all names are needed."""
    named: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for field, number in fields.items():
        name, separator, label = field.partition("|")
        if separator:
            named[name][label] = number
    return named


def _buckets(labels: Fields) -> dict[int, int]:
    return {int(number): count for number, count in labels.items() if number.isdecimal()}


def status_classes(fields: Fields) -> dict[str, int]:
    """Requests by status class (`2xx`)."""
    return _classes(with_prefix(fields, "requests"))


def _classes(requests: Fields) -> dict[str, int]:
    classes: dict[str, int] = {}
    for labels, number in requests.items():
        _, status_class, _ = labels.split("|", 2)
        classes[status_class] = classes.get(status_class, 0) + number
    return dict(sorted(classes.items()))


def hits_and_misses(cache: Fields) -> tuple[int, int]:
    return _total(cache, HIT_RESULTS), cache.get("MISS", 0)


def hit_rate(hits: int, misses: int) -> float:
    """A percentage with two decimals; 0 without lookups."""
    return round(100 * hits / (hits + misses), 2) if hits + misses else 0.0


def saved_calls(fields: Fields) -> int:
    return _total(with_prefix(fields, "cache"), SAVED_RESULTS)


def mean_call(fields: Fields) -> float:
    """The average duration of a service's backend calls, in seconds."""
    calls = sum(with_prefix(fields, "backend").values())
    return fields.get("backend_us", 0) / calls / 1e6 if calls else 0.0


def _total(fields: Fields, names: Iterable[str]) -> int:
    return sum(fields.get(name, 0) for name in names)
