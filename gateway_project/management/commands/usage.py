"""Print usage by consumer, service and day, and what has become of its events."""

import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from metrics.usage import outbox, selectors
from metrics.usage.days import local_date
from metrics.usage.selectors import FILTERS, GROUPS, ReportQuery, UsageRow
from metrics.usage.table import COLUMNS, to_csv

MAX_SHOWN: Final = 50
"""Rejected events that are printed."""


class Command(BaseCommand):
    help = "Print usage by consumer, service and day, and what has become of its events."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action")
        show = actions.add_parser("show", help="print usage, as the database has it (the default)")
        for each in (parser, show):
            each.add_argument("--from", dest="start", type=_date, help="first day; default: 29 days before --to")
            each.add_argument("--to", dest="end", type=_date, help="last day, included; default: today")
            each.add_argument("--group-by", type=_groups, default=("consumer", "caller", "service"), metavar="NAME,...")
            for name in FILTERS:
                each.add_argument(f"--{name}", help="only of this one")
            each.add_argument("--format", choices=("table", "csv", "json"), default="table")
        actions.add_parser("events", help="print how events are delivered, and which were rejected")
        actions.add_parser("retry", help="send rejected events again")

    def handle(self, *, action: str | None, **options: Any) -> None:
        match action:
            case "events":
                self._events()
            case "retry":
                self.stdout.write(f"{outbox.retry_rejected()} events will be sent again")
            case _:
                self._show(options)

    def _show(self, options: dict[str, Any]) -> None:
        end: date = options["end"] or local_date(time.time(), settings.CONFIG.metering.timezone)
        start: date = options["start"] or end - timedelta(days=min(29, (end - date.min).days))
        if start > end:
            raise CommandError(f"--from, {start}, is after --to, {end}")
        group_by = options["group_by"]
        query = ReportQuery(
            start=start,
            end=end,
            group_by=group_by,
            filters={name: options[name] for name in FILTERS if options[name]},
        )
        rows = selectors.report(query)
        match options["format"]:
            case "csv":
                self.stdout.write(to_csv(group_by, rows), ending="")
            case "json":
                self.stdout.write(json.dumps([_document(group_by, row) for row in rows], indent=2))
            case _:
                self._table(group_by, [*rows, selectors.total(query)])

    def _table(self, group_by: tuple[str, ...], rows: list[UsageRow]) -> None:
        """The last row is the total."""
        lines = [(*group_by, *COLUMNS, "money")]
        for row in rows:
            group = row.group or ("total", *("" for _ in group_by[1:]))
            money = ", ".join(f"{each.amount} {each.currency}" for each in row.money)
            counts = (
                f"{getattr(row, name):g}" if name == "backend_seconds" else str(getattr(row, name)) for name in COLUMNS
            )
            lines.append((*(value.translate(_CONTROL) or "-" for value in group), *counts, money))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (
                cell.ljust(width) if place < len(group_by) else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            self.stdout.write("  ".join(cells).rstrip())

    def _events(self) -> None:
        status = outbox.status()
        if status is None:
            self.stdout.write("no events were sent yet (METERING_URL)")
            return
        waiting, rejected = outbox.backlog(MAX_SHOWN)
        delivered = _time(status.delivered_at) if status.delivered_at else "never"
        self.stdout.write(f"waiting: {waiting}; last delivery: {delivered}")
        if status.failures:
            self.stdout.write(
                f"failing: {status.failure} ({status.failures} times); next try: {_time(status.retry_at)}"
            )
        for identifier, reason in rejected:
            self.stdout.write(f"rejected: {identifier}: {reason}")


_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))}


def _document(group_by: tuple[str, ...], row: UsageRow) -> dict[str, Any]:
    money = [{"amount": each.amount, "currency": each.currency} for each in row.money]
    counts = {name: getattr(row, name) for name in COLUMNS}
    return {**dict(zip(group_by, row.group, strict=True)), **counts, "money": money}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError("must be a date such as 2026-01-31") from None


def _groups(text: str) -> tuple[str, ...]:
    names = selectors.expand_groups(text.split(","))
    if names is None:
        raise ArgumentTypeError(f"must be some of {', '.join(GROUPS)}, separated by commas")
    return names
