"""`python -m benchmarks.history`: a year at 50 services, and how long pages of the dashboard and the admin take."""

import argparse
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

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
        kind, rows, found = _measure(options)
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


def _measure(options: argparse.Namespace) -> "tuple[str, dict[str, int], list[Measured]]":
    """The database's kind, its rows, and each page. Django can be imported only now."""
    import django  # noqa: PLC0415 - as said above

    django.setup()
    from datetime import UTC, datetime  # noqa: PLC0415 - beside the others

    from django.contrib.auth.models import User  # noqa: PLC0415 - as said above
    from django.core.management import call_command  # noqa: PLC0415 - as said above
    from django.db import connection  # noqa: PLC0415 - as said above
    from django.test import Client  # noqa: PLC0415 - as said above

    from benchmarks.history.generate import generate  # noqa: PLC0415 - as said above
    from benchmarks.history.pages import measure, pages  # noqa: PLC0415 - as said above
    from metrics.runtime_access import run_on_loop  # noqa: PLC0415 - as said above
    from routing import runtime  # noqa: PLC0415 - as said above

    call_command("migrate", verbosity=0)
    started = time.perf_counter()
    rows = generate(datetime.now(UTC), services=options.services, days=options.days, consumers=options.consumers)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    print(f"generated in {time.perf_counter() - started:.0f} s")
    process = runtime.current()
    process.opened()
    client = Client()
    client.force_login(User.objects.get(username="ada"))
    found = []
    for page in pages():
        measured = measure(client, page)
        slow = measured.statement[:300] if measured.slowest > QUERY_MS.bound else ""
        times = f"{measured.total:8.0f} ms, of the processor {measured.processor:6.0f}, {measured.status}"
        queries = f"{measured.queries:4} queries, slowest {measured.slowest:6.0f} ms"
        print(f"{times} {queries}  {page.name}  {slow}".rstrip(), flush=True)
        found.append(measured)
    run_on_loop(process.stop())
    return connection.display_name, rows, found


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
    )
    return f"{table(head, lines)}\nOf {len(found)} pages.\n"


if __name__ == "__main__":
    main()
