"""Objectives as Prometheus' metrics."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from metrics.objectives.budgets import ObjectiveStatus

Objectives = Mapping[str, tuple[ObjectiveStatus, ...]]
"""The status of each service's objectives."""
_LABELS: Final = ("service", "objective")


def render(objectives: Objectives) -> Iterator[Metric]:
    target = GaugeMetricFamily("gateway_slo_target", "Share of requests to meet the objective.", labels=_LABELS)
    used = GaugeMetricFamily(
        "gateway_slo_budget_used_ratio", "Share of the error budget that is used; above 1 if missed.", labels=_LABELS
    )
    rate = GaugeMetricFamily(
        "gateway_slo_burn_rate",
        "How fast the error budget is used, by window: 1 uses it up exactly in the objective's window.",
        labels=(*_LABELS, "window"),
    )
    for service, statuses in objectives.items():
        for status in statuses:
            target.add_metric([service, status.name], status.target)
            used.add_metric([service, status.name], status.budget_used)
            for window, value in status.burn_rates.items():
                rate.add_metric([service, status.name, window], value)
    yield from (target, used, rate)
