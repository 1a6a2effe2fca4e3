"""Every page of the dashboard and the admin, and the queries that each makes."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final, NamedTuple

from django.contrib import admin
from django.db import connection
from django.test import Client
from django.urls import reverse

from benchmarks.processes import resident_bytes
from metrics.charts.ranges import PRESETS

ROUNDS: Final = 3
SERVICE: Final = "service-001"
DASHBOARD: Final = (
    *("overview", "snapshot", "palette", "events", "usage", "advice", "what_if", "savings", "callers", "requests"),
    "replay",
)


class Page(NamedTuple):
    name: str
    path: str


class Measured(NamedTuple):
    """Milliseconds: of the page, of that the processor's, and of the slowest query; the median of the rounds. `kept` is
    by how many megabytes the process is larger afterwards.
    """

    page: Page
    status: int
    total: float
    processor: float
    queries: int
    slowest: float
    statement: str
    kept: float = 0.0


def pages() -> Iterator[Page]:
    """Those of the API are measured too, with the ranges that it accepts and no page asks for."""
    for name in DASHBOARD:
        yield Page(f"dashboard: {name}", reverse(f"dashboard:{name}"))
    yield Page("dashboard: caller", f"{reverse('dashboard:caller', args=['consumer'])}?name=consumer-0001")
    for name in ("service", "detail", "routes", "incident"):
        yield Page(f"dashboard: {name}", reverse(f"dashboard:{name}", args=[SERVICE]))
    for length in PRESETS:
        path = f"{reverse('dashboard:history')}?range={length}&compare=week"
        yield Page(f"dashboard: charts of {length}", path)
        yield Page(f"dashboard: charts of {length}, one service", f"{path}&service={SERVICE}")
    for seconds, step in ((3_600, 60), (86_400, 300), (30 * 86_400, 21_600), (364 * 86_400, 86_400)):
        query = f"from={int(time.time()) - seconds}&to={int(time.time())}&step={step}"
        yield Page(f"api: history of {seconds // 3_600} h", f"/metrics/history?{query}")
        yield Page(f"api: history of {seconds // 3_600} h, one service", f"/metrics/history?service={SERVICE}&{query}")
    for path in ("", "/usage", "/savings", "/callers", "/cache", "/circuit-breakers"):
        yield Page(f"api: /metrics{path}", f"/metrics{path}")
    yield Page("api: config", "/api/config")
    yield Page("api: config history", "/api/config/history")
    yield Page("admin: index", reverse("admin:index"))
    for model in admin.site._registry:
        yield from _admin_pages(model)


def _admin_pages(model: Any) -> Iterator[Page]:
    prefix, name = f"admin:{model._meta.app_label}_{model._meta.model_name}", model._meta.verbose_name_plural
    changelist = reverse(f"{prefix}_changelist")
    yield Page(f"admin: {name}", changelist)
    if admin.site._registry[model].search_fields:
        yield Page(f"admin: {name}, search", f"{changelist}?q=service-001")
    last = model._default_manager.order_by("-pk").first()
    if last is not None:
        yield Page(f"admin: {name}, one", reverse(f"{prefix}_change", args=[last.pk]))


def measure(client: Client, page: Page) -> Measured:
    found, before = [], resident_bytes(os.getpid())
    for _ in range(ROUNDS):
        with _queries() as queries:
            started, used = time.perf_counter(), time.process_time()
            response = client.get(page.path, HTTP_HOST="127.0.0.1", follow=False)
            total, processor = (time.perf_counter() - started) * 1_000, (time.process_time() - used) * 1_000
        slowest = max(queries, default=(0.0, ""))
        found.append(Measured(page, response.status_code, total, processor, len(queries), *slowest))
    middle = sorted(found, key=lambda each: each.total)[len(found) // 2]
    return middle._replace(
        slowest=median(each.slowest for each in found), kept=(resident_bytes(os.getpid()) - before) / 1e6
    )


@contextmanager
def _queries() -> Iterator[list[tuple[float, str]]]:
    """Milliseconds and text of each query of the block, until its first rows are there."""
    queries: list[tuple[float, str]] = []

    def timed(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            queries.append(((time.perf_counter() - started) * 1_000, sql))

    with connection.execute_wrapper(timed):
        yield queries
