"""A report as CSV (RFC 4180), which spreadsheets do not take for formulas. Pure."""

import csv
import io
from collections.abc import Sequence
from typing import Final

from metrics.usage.selectors import UsageRow

COLUMNS: Final = ("requests", "errors", "cached", "bytes_in", "bytes_out", "backend_seconds", "refused", "limited")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula in some spreadsheet, in both widths."""


def to_csv(group_by: Sequence[str], rows: Sequence[UsageRow]) -> str:
    """One line for each row, with a column for each currency."""
    currencies = sorted({money.currency for row in rows for money in row.money})
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow([*group_by, *COLUMNS, *(f"amount_{currency}" for currency in currencies)])
    for row in rows:
        amounts = {money.currency: money.amount for money in row.money}
        writer.writerow(
            [
                *(cell(value) for value in row.group),
                *(getattr(row, name) for name in COLUMNS),
                *(amounts.get(currency, "") for currency in currencies),
            ]
        )
    return output.getvalue()


def cell(value: str) -> str:
    """Text that a spreadsheet shows as it is: an apostrophe before what it would calculate."""
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value
