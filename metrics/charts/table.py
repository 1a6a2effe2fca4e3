"""Charts as comma-separated values, with units in the heads and times in UTC. Pure."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from metrics.charts.series import CLASSES, Series, bucket_bounds

Row = tuple[object, ...]


def _requests(series: Series) -> Iterator[Row]:
    """Numbers, not rates: the last step may not be over yet."""
    names = [name for name in CLASSES if name in series.classes]
    yield ("time", "seconds", "requests", *names)
    for index, at in enumerate(series.times):
        counts = (series.classes[name][index] for name in names)
        yield (_time(at), series.step, series.requests[index], *counts)


def _latency(series: Series) -> Iterator[Row]:
    yield ("time", "p50_seconds", "p95_seconds", "p99_seconds")
    for at, *values in zip(series.times, series.p50, series.p95, series.p99, strict=True):
        yield (_time(at), *values)


def _hit_rate(series: Series) -> Iterator[Row]:
    yield ("time", "hit_rate_percent")
    for at, value in zip(series.times, series.hit_rate, strict=True):
        yield (_time(at), value)


def _distribution(series: Series) -> Iterator[Row]:
    yield ("time", "above_seconds", "up_to_seconds", "requests")
    for index, bucket, count in series.heat:
        yield (_time(series.times[index]), *bucket_bounds(bucket), count)


CHARTS: Final[dict[str, Callable[[Series], Iterator[Row]]]] = {
    "requests": _requests,
    "latency": _latency,
    "distribution": _distribution,
    "hit-rate": _hit_rate,
}
"""The rows of each chart, by the name of its file."""


def to_csv(chart: str, series: Series) -> str:
    """The chart as CSV; unknown values are empty. No cell has text that a client chose, so none needs escaping against
    formulas.
    """
    output = io.StringIO()
    csv.writer(output).writerows(CHARTS[chart](series))
    return output.getvalue()


def _time(at: int) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
