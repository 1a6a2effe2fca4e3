"""Sums of usage as the dashboard's pages show them."""

from typing import Any

from metrics.dashboard.numbers import decimal_text
from metrics.usage.selectors import UsageRow


def figures(row: UsageRow) -> dict[str, Any]:
    return {
        "requests": row.requests,
        "errors": row.errors,
        "refused": row.refused,
        "limited": row.limited,
        "cached": row.cached,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "backend": long_duration(row.backend_seconds),
        "money": [f"{each.amount} {each.currency}" for each in row.money],
    }


def long_duration(seconds: float) -> str:
    if seconds < 0.9995:
        return f"{decimal_text(seconds * 1_000, 0)} ms"
    if seconds < 59.95:
        return f"{decimal_text(seconds, 1)} s"
    if seconds < 3_597:
        return f"{decimal_text(seconds / 60, 1)} min"
    return f"{decimal_text(seconds / 3_600, 1)} h"


def share(part: float, whole: float) -> str:
    """A percentage with one decimal, and 0 of nothing."""
    return decimal_text(100 * part / whole, 1) if whole else "0"
