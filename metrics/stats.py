"""From counts to the figures people read."""

from collections.abc import Iterable, Mapping
from typing import Final

from metrics.counting.counts import Fields, buckets, merged, under
from metrics.counting.histogram import quantiles
from metrics.read_models import TrafficStats

FROM_STORE: Final = frozenset({"HIT", "STALE", "REVALIDATED"})
"""X-Cache's words for an answer whose body came from the cache."""
WITHOUT_CALL: Final = frozenset({"HIT", "STALE"})
"""Those that spared the backend the call."""
PARTS: Final = (0.5, 0.95, 0.99)


def traffic_stats(by_service: Mapping[str, Fields], costs: Mapping[str, float]) -> TrafficStats:
    """Several services' counts as one set of figures. `costs` are US dollars a call, by service."""
    fields = merged(by_service.values())
    classes, cache, codes = status_classes(fields), under(fields, "cache"), under(fields, "code")
    hits, misses = hits_and_misses(cache)
    p50, p95, p99 = quantiles(buckets(fields, "duration"), PARTS)
    b50, b95, b99 = quantiles(buckets(fields, "backend"), PARTS)
    saved = {name: saved_calls(of) for name, of in by_service.items()}
    return TrafficStats(
        requests=sum(classes.values()),
        errors=classes.get("5xx", 0),
        status_classes=classes,
        hits=hits,
        misses=misses,
        hit_rate=rate(hits, misses),
        rate_limited=codes.get("rate_limited", 0),
        refused=under(fields, "circuit").get("refused", 0),
        aborted=sum(under(fields, "aborted").values()),
        bytes=fields["bytes"],
        p50=p50,
        p95=p95,
        p99=p99,
        backend_p50=b50,
        backend_p95=b95,
        backend_p99=b99,
        saved_calls=sum(saved.values()),
        saved_seconds=round(sum(calls * mean_call(by_service[name]) for name, calls in saved.items()), 3),
        saved_usd=round(sum(calls * costs.get(name, 0.0) for name, calls in saved.items()), 6),
    )


def status_classes(fields: Fields) -> dict[str, int]:
    classes: dict[str, int] = {}
    for labels, number in under(fields, "requests").items():
        _, status_class, _ = labels.split("|", 2)
        classes[status_class] = classes.get(status_class, 0) + number
    return dict(sorted(classes.items()))


def hits_and_misses(cache: Fields) -> tuple[int, int]:
    return _sum(cache, FROM_STORE), cache.get("MISS", 0)


def rate(hits: int, misses: int) -> float:
    """The hits' percentage, with two decimals; 0 before the first of either."""
    return round(100 * hits / (hits + misses), 2) if hits + misses else 0.0


def saved_calls(fields: Fields) -> int:
    return _sum(under(fields, "cache"), WITHOUT_CALL)


def mean_call(fields: Fields) -> float:
    """The seconds a call of this service's backend takes on average."""
    calls = sum(under(fields, "backend").values())
    return fields.get("backend_us", 0) / calls / 1e6 if calls else 0.0


def _sum(fields: Fields, names: Iterable[str]) -> int:
    return sum(fields.get(name, 0) for name in names)
