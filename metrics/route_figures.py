"""The traffic of a service's routes. For Django's threads: it blocks."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from metrics import cluster_counts, selectors
from metrics.counting import aggregates
from metrics.counting.counts import Fields, buckets, merge_counts, with_prefix
from metrics.counting.histogram import COARSE_BOUNDS, quantiles
from metrics.counting.spreading import ROUTE_SECONDS
from metrics.models import TimeResolution
from metrics.stats import SHARES, hits_and_misses
from routing.router.table import RoutePattern, Service

PERIODS: Final[Mapping[str, tuple[TimeResolution, int]]] = {
    "20m": (TimeResolution.ROUTES_TEN_MINUTES, 2),
    "1h": (TimeResolution.ROUTES_TEN_MINUTES, 7),
    "24h": (TimeResolution.ROUTES_TEN_MINUTES, 145),
    "7d": (TimeResolution.ROUTES_DAY, 7),
    "30d": (TimeResolution.ROUTES_DAY, 30),
    "90d": (TimeResolution.ROUTES_DAY, 90),
}
"""The resolution of the rows that are read for a period, and their number, the current one included."""
DEFAULT_PERIOD: Final = "1h"


class RouteFigures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The requests of one route. `path` is empty for those that no route matched. A route that `is_removed` has been
    counted, and is no longer configured. Latencies are seconds, within 13 %.
    """

    path: str
    methods: tuple[str, ...] = ()
    enabled: bool = True
    is_removed: bool = False
    requests: int = 0
    errors: int = 0
    client_errors: int = 0
    hits: int = 0
    misses: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Routes(NamedTuple):
    """`since` is the beginning of the period in Unix seconds."""

    since: int
    routes: list[RouteFigures]


class _Key(NamedTuple):
    method: str
    pattern: str


def read_routes(name: str, period: str) -> Routes:
    """Every configured route, in its order, and then what else was counted. Raises ServiceNotConfigured."""
    service = selectors.get_service(name)
    resolution, number = PERIODS[period]
    seconds = ROUTE_SECONDS[resolution]
    end = int(selectors.now() // seconds + 1) * seconds
    since = end - number * seconds
    rows = aggregates.read_counts(cluster_counts.pending_batches(), resolution, since, end, name)
    return Routes(since, figures_of(service, merge_counts(rows.values())))


def figures_of(service: Service, fields: Fields) -> list[RouteFigures]:
    """`fields` are those that are counted by route."""
    by_pattern: defaultdict[str, list[tuple[int, RoutePattern]]] = defaultdict(list)
    for index, route in enumerate(service.routes):
        by_pattern[route.path].append((index, route))
    owned: defaultdict[int | _Key, Counter[str]] = defaultdict(Counter)
    for key, found in _by_route(fields).items():
        owner = _owner(by_pattern.get(key.pattern, ()), key.method)
        owned[key if owner is None else owner].update(found)
    configured = [_figures(route, owned.get(index, Counter())) for index, route in enumerate(service.routes)]
    others = ((key, found) for key, found in owned.items() if isinstance(key, _Key))
    return [*configured, *_unconfigured(others)]


def _owner(routes: Sequence[tuple[int, RoutePattern]], method: str) -> int | None:
    """The index of the first of the routes of a pattern that allows the method, or else of the first."""
    allowing = (index for index, route in routes if not route.methods or method in route.methods)
    return next(allowing, routes[0][0] if routes else None)


def _unconfigured(found: Iterable[tuple[_Key, Counter[str]]]) -> Iterator[RouteFigures]:
    by_pattern: defaultdict[str, Counter[str]] = defaultdict(Counter)
    methods: defaultdict[str, set[str]] = defaultdict(set)
    for key, fields in found:
        by_pattern[key.pattern].update(fields)
        methods[key.pattern].add(key.method)
    for pattern, fields in sorted(by_pattern.items()):
        own = tuple(sorted(methods[pattern])) if pattern else ()
        yield RouteFigures(path=pattern, methods=own, is_removed=bool(pattern), **_numbers(fields))


def _by_route(fields: Fields) -> dict[_Key, Counter[str]]:
    """`2xx`, `cache|HIT` and `duration|40` of each method and pattern."""
    found: defaultdict[_Key, Counter[str]] = defaultdict(Counter)
    for field, number in fields.items():
        name, *labels = field.split("|", 3)
        if len(labels) < 3:
            continue
        if name == "requests":
            method, status_class, pattern = labels
            found[_Key(method, pattern)][f"status|{status_class}"] += number
        else:
            label, method, pattern = labels
            found[_Key(method, pattern)][f"{name.removeprefix('route_')}|{label}"] += number
    return dict(found)


def _figures(route: RoutePattern, fields: Counter[str]) -> RouteFigures:
    return RouteFigures(path=route.path, methods=route.methods, enabled=route.policy.enabled, **_numbers(fields))


def _numbers(fields: Fields) -> dict[str, Any]:
    statuses = with_prefix(fields, "status")
    hits, misses = hits_and_misses(with_prefix(fields, "cache"))
    p50, p95, p99 = quantiles(buckets(fields, "duration"), SHARES, COARSE_BOUNDS)
    return {
        "requests": sum(statuses.values()),
        "errors": statuses.get("5xx", 0),
        "client_errors": statuses.get("4xx", 0),
        "hits": hits,
        "misses": misses,
        "p50": p50,
        "p95": p95,
        "p99": p99,
    }
