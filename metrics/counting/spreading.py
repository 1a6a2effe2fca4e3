"""Which rows a batch's counts belong to: those of its minutes, hours, days, routes, and the total. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from metrics.counting.counts import GATEWAY, Fields, split_by_minute
from metrics.models import TimeResolution

RESOLUTION_SECONDS: Final = {TimeResolution.MINUTE: 60, TimeResolution.HOUR: 3_600, TimeResolution.DAY: 86_400}
ROUTE_SECONDS: Final = {TimeResolution.ROUTES_TEN_MINUTES: 600, TimeResolution.ROUTES_DAY: 86_400}
SECONDS: Final = {**RESOLUTION_SECONDS, **ROUTE_SECONDS}
PATH_PREFIX: Final = "path|"
REFETCH_PREFIX: Final = "refetch|"
FAULT_PREFIXES: Final = ("fault|", "affected|")
ROUTE_PREFIXES: Final = ("route_duration|", "route_cache|")

_OMITTED: Final = {
    TimeResolution.MINUTE: (PATH_PREFIX, REFETCH_PREFIX, *ROUTE_PREFIXES),
    TimeResolution.HOUR: (REFETCH_PREFIX, *FAULT_PREFIXES, *ROUTE_PREFIXES),
    TimeResolution.DAY: (PATH_PREFIX, REFETCH_PREFIX, *FAULT_PREFIXES, *ROUTE_PREFIXES),
    TimeResolution.TOTAL: (PATH_PREFIX, REFETCH_PREFIX, *FAULT_PREFIXES, *ROUTE_PREFIXES),
}
"""Beginnings of the fields that rows of a resolution do not have: paths are kept per hour, faults per minute, repeated
fetches per day by route.
"""
_BY_ROUTE: Final = {
    TimeResolution.ROUTES_TEN_MINUTES: ("requests|", *ROUTE_PREFIXES),
    TimeResolution.ROUTES_DAY: ("requests|", *ROUTE_PREFIXES, REFETCH_PREFIX),
}
SUMMED: Final = frozenset({"requests", "duration", "duration_us", "backend", "backend_us", "cache", "code"})
"""The fields that are also summed over all services."""

RESOLUTIONS: Final = (*SECONDS, TimeResolution.TOTAL)
"""All resolutions that a batch is added to."""

AggregateKey = tuple[str, int, str]
"""Resolution, start in Unix seconds, service."""


def spread(
    counts: Fields, resolutions: Iterable[TimeResolution], *, with_sums: bool
) -> dict[AggregateKey, Counter[str]]:
    """A batch's counts in the rows of these resolutions; `with_sums` also in those of GATEWAY."""
    minutes = split_by_minute(counts)
    sums = _sums(minutes) if with_sums else {}
    found: defaultdict[AggregateKey, Counter[str]] = defaultdict(Counter)
    for resolution in resolutions:
        seconds = SECONDS.get(resolution)
        summed = sums.items() if resolution in RESOLUTION_SECONDS else ()
        for (minute, service), fields in (*minutes.items(), *summed):
            start = 0 if seconds is None else minute // seconds * seconds
            found[resolution, start, service].update(_fields_of(resolution, fields))
    return {key: fields for key, fields in found.items() if fields}


def _sums(minutes: Mapping[tuple[int, str], Fields]) -> dict[tuple[int, str], Counter[str]]:
    """The counts of all services together, without the routes that requests are counted by."""
    found: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for (minute, _), fields in minutes.items():
        summed = found[minute, GATEWAY]
        for field, number in fields.items():
            name = field.partition("|")[0]
            if name in SUMMED:
                summed[f"{'|'.join(field.split('|', 3)[:3])}|" if name == "requests" else field] += number
    return dict(found)


def without(fields: Fields, prefixes: tuple[str, ...]) -> Fields:
    return {field: fields[field] for field in fields if not field.startswith(prefixes)} if prefixes else fields


def _fields_of(resolution: TimeResolution, fields: Fields) -> Fields:
    if resolution in _BY_ROUTE:
        return {field: number for field, number in fields.items() if field.startswith(_BY_ROUTE[resolution])}
    omitted = _OMITTED.get(resolution, ())
    return {field: number for field, number in fields.items() if not field.startswith(omitted)}
