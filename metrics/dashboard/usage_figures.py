"""Sums of usage as the dashboard's pages show them."""

from typing import Any

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
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3_600 else f"{seconds / 3_600:,.1f} h"
