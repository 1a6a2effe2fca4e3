"""The page of the Prometheus metrics."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from gateway_project.reference.markdown import code, page, table, text
from metrics import prometheus
from metrics.counting.histogram import PROMETHEUS_BOUNDS

_INTRODUCTION: Final = """\
What `GET /metrics` exposes if `Accept` asks for Prometheus' text format or for OpenMetrics. Every worker reports the
whole cluster. How requests are counted, and how exactly, is in [metrics](../metrics.md); what to do about an alert is
in the [runbooks](../runbooks.md)."""
_SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
"""What the names of a metric's series end with, by its type."""


def metrics_page() -> str:
    rows = [
        (
            " ".join(map(code, _series(metric))),
            metric.type,
            " ".join(map(code, _labels(metric))),
            text(metric.documentation),
        )
        for metric in sorted(prometheus.describe(), key=lambda metric: metric.name)
    ]
    bounds = ", ".join(f"{bound:g}" for bound in PROMETHEUS_BOUNDS)
    buckets = f"Buckets of durations end at {bounds} seconds."
    return page("Metrics", _INTRODUCTION, table(("series", "type", "labels", ""), rows), buckets)


def _series(metric: Metric) -> Iterator[str]:
    return (metric.name + suffix for suffix in _SUFFIXES[metric.type])


def _labels(metric: Metric) -> tuple[str, ...]:
    """The names of its labels: prometheus_client keeps them in a private attribute of each family."""
    return tuple(metric._labelnames)  # type: ignore[attr-defined] # private, and its only record of them
