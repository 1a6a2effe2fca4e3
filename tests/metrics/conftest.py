"""A gateway with metrics that Django's views use, and clients of them."""

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache as django_cache
from django.test import Client

from routing import runtime
from tests.staff import member_of

if TYPE_CHECKING:
    # Models, which are not loaded when this file is imported.
    from tests.metrics.harness import Harness
    from tests.metrics.replay.recorded import RecordedGateway


@pytest.fixture
def harness() -> Iterator["Harness"]:
    from tests.metrics.harness import make_harness

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made = asyncio.run_coroutine_threadsafe(make_harness(loop), loop).result()

    async def opened() -> Any:
        return made

    installed = runtime.Runtime(opened)
    runtime.install(installed)
    django_cache.clear()
    made.run(installed.start())
    yield made
    made.run(installed.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def staff_client(db: None) -> Client:
    """A logged-in operator, with CSRF checks."""
    return member_of("Operator", enforce_csrf_checks=True)


@pytest.fixture
def api_client(harness: "Harness") -> Client:
    """A client with an API key that may read and write."""
    return Client(headers={"X-API-Key": harness.keys["both"], "X-Request-ID": "req-1"})


@pytest.fixture
def recorded(harness: "Harness") -> "RecordedGateway":
    """A gateway that records requests, which are then replayed."""
    from tests.metrics.replay.recorded import RecordedGateway

    return RecordedGateway(harness)


@pytest.fixture
def owner(db: None) -> Client:
    """A logged-in member of staff who may configure the gateway."""
    return member_of("Owner", "olga")


@pytest.fixture
def one_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """django-ratelimit counts in windows of the wall clock: without it, one may end in the middle of a test."""
    clock = SimpleNamespace(time=lambda: 1_700_000_000.0)
    monkeypatch.setattr("django_ratelimit.core.time", clock)
