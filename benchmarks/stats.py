"""Statistics of measurements: percentiles, ratios of interleaved rounds, pass thresholds, and Markdown tables."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

PERCENTILES: Final = (50.0, 95.0, 99.0, 99.9)


class Threshold(NamedTuple):
    """The bound a value has to meet: a minimum, or a maximum if `maximum` is set."""

    bound: float
    maximum: bool = False

    def met_by(self, value: float) -> bool:
        return value <= self.bound if self.maximum else value >= self.bound


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The percentile by the nearest-rank method. `ordered` is ascending and not empty."""
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(rank, 1) - 1]


def median_ratio(values: Sequence[float], baselines: Sequence[float]) -> float:
    """The median of the per-round ratios: a slow moment of the machine affects both sides of a round.

    Rounds whose baseline is zero are ignored; NaN if none is left.
    """
    ratios = [value / baseline for value, baseline in zip(values, baselines, strict=True) if baseline]
    return median(ratios) if ratios else math.nan


def verdict(value: float, threshold: Threshold | None) -> str:
    """The last cell of a table row: pass or fail, empty without a threshold."""
    if threshold is None:
        return ""
    return "pass" if threshold.met_by(value) else "**fail**"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with padded cells: the first column left-aligned, the others right-aligned."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    rule = "|".join([":" + "-" * (widths[0] + 1), *("-" * (width + 1) + ":" for width in widths[1:])])
    lines = [_line(head, widths), f"|{rule}|", *(_line(row, widths) for row in rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = [
        f"{cell:<{width}}" if not n else f"{cell:>{width}}"
        for n, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "| " + " | ".join([first, *rest]) + " |"
