"""Generates the year, and requests each page. Imports models: Django must have been set up."""

import time
from datetime import UTC, datetime

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from benchmarks.history.generate import generate
from benchmarks.history.pages import Measured, measure, pages
from metrics.runtime_access import run_on_loop
from routing import runtime


def measure_year(
    *, services: int, days: int, consumers: int, slow_ms: float
) -> tuple[str, dict[str, int], list[Measured]]:
    """The database's kind, its rows by table, and each page. Statements slower than `slow_ms` are printed."""
    call_command("migrate", verbosity=0)
    started = time.perf_counter()
    rows = generate(datetime.now(UTC), services=services, days=days, consumers=consumers)
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
        slow = measured.statement[:300] if measured.slowest > slow_ms else ""
        times = f"{measured.total:8.0f} ms, of the processor {measured.processor:6.0f}, {measured.status}"
        queries = f"{measured.queries:4} queries, slowest {measured.slowest:6.0f} ms"
        print(f"{times} {queries} {measured.kept:+6.1f} MB  {page.name}  {slow}".rstrip(), flush=True)
        found.append(measured)
    run_on_loop(process.stop())
    return connection.display_name, rows, found
