"""`python -m benchmarks.history`: a year at 50 services, and how long pages of the dashboard and the admin take."""

import argparse
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import django

from benchmarks import results
from benchmarks.servers import temporary_directory
from benchmarks.stats import Threshold, table, verdict

if TYPE_CHECKING:
    from benchmarks.history.pages import Measured

API: Final = "api:"
"""Begins the names of what is no page (benchmarks/history/pages.py, which needs Django)."""
PAGE_MS: Final = Threshold(500.0, maximum=True)
QUERY_MS: Final = Threshold(200.0, maximum=True)
SLOWEST: Final = 15
"""Pages that are listed."""


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        directory = stack.enter_context(temporary_directory())
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
            "SECRET_KEY": "of a benchmark alone, and long enough to sign with",
            "DATABASE_URL": options.database or f"sqlite:///{directory / 'history.sqlite3'}",
            "RETENTION": "minutes=off",
        }
        django.setup()
        from benchmarks.history import run  # noqa: PLC0415 - imports models, which need Django set up

        kind, rows, found = run.measure_year(
            services=options.services, days=options.days, consumers=options.consumers, slow_ms=QUERY_MS.bound
        )
    body = f"{', '.join(f'{name} {number:,}' for name, number in rows.items())} rows in {kind}.\n\n{_table(found)}"
    command = f"make history{f' ARGS={chr(34)}{options.given}{chr(34)}' if options.given else ''}"
    results.publish(f"A year of history in {kind}", body, command=command)
    shown = [each for each in found if not each.page.name.startswith(API)]
    if not all(PAGE_MS.met_by(each.total) and QUERY_MS.met_by(each.slowest) for each in shown):
        raise SystemExit("some pages are too slow")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make history")
    parser.add_argument("--database", help="the URL of an empty PostgreSQL database; default: a SQLite file")
    parser.add_argument("--services", type=int, default=50)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--consumers", type=int, default=200)
    options = parser.parse_args()
    names = ("services", "days", "consumers")
    changed = [
        f"--{name} {getattr(options, name)}" for name in names if getattr(options, name) != parser.get_default(name)
    ]
    options.given = " ".join((["--database URL"] if options.database else []) + changed)
    return options


def _table(found: "list[Measured]") -> str:
    listed = sorted(found, key=lambda each: -each.total)[:SLOWEST]
    lines = [
        (
            each.page.name,
            f"{each.total:.0f}",
            f"{each.processor:.0f}",
            verdict(each.total, None if each.page.name.startswith(API) else PAGE_MS),
            str(each.queries),
            f"{each.slowest:.0f}",
            verdict(each.slowest, QUERY_MS),
            f"{each.kept:.0f}",
        )
        for each in listed
    ]
    head = (
        "the slowest pages",
        "ms",
        "of the processor",
        f"at most {PAGE_MS.bound:.0f}",
        "queries",
        "slowest, ms",
        f"at most {QUERY_MS.bound:.0f}",
        "MB kept",
    )
    return f"{table(head, lines)}\nOf {len(found)} pages.\n"


if __name__ == "__main__":
    main()
