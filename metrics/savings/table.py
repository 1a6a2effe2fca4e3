"""The report as CSV (RFC 4180). Pure."""

import csv
import io
from typing import Final

from metrics.savings.report import SavingsReport

COLUMNS: Final = ("month", "service", "requests", "saved_calls", "saved_seconds", "saved_usd")


def to_csv(report: SavingsReport) -> str:
    """One line for each month and service. Names of services begin with a letter: no spreadsheet calculates them."""
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(COLUMNS)
    for row in report.rows:
        writer.writerow((row.month, row.service, row.requests, row.calls, row.seconds, f"{row.usd:f}"))
    return output.getvalue()
