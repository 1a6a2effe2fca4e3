"""Figures out of many measurements: medians, percentiles, ratios of rounds that ran side by side, and their tables."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

PERCENTILES: Final = (50.0, 95.0, 99.0, 99.9)


class Aim(NamedTuple):
    """What a figure has to reach: at least `bound`, or at most where `most` is set."""

    bound: float
    most: bool = False

    def reached(self, figure: float) -> bool:
        return figure <= self.bound if self.most else figure >= self.bound


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that `share` percent of all are not above (the nearest rank). `ordered` ascends, not empty."""
    rank = math.ceil(len(ordered) * share / 100)
    return ordered[max(rank, 1) - 1]


def ratio(of: Sequence[float], to: Sequence[float]) -> float:
    """The median of the rounds' own ratios: what slowed a whole round down slowed both sides of it."""
    pairs = [mine / theirs for mine, theirs in zip(of, to, strict=True) if theirs]
    return median(pairs) if pairs else math.nan


def verdict(figure: float, aim: Aim | None) -> str:
    """As a table's last cell says it; nothing where nothing is aimed at."""
    if aim is None:
        return ""
    return "pass" if aim.reached(figure) else "**short**"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown that is legible as text too: the first column to the left, figures to the right."""
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
