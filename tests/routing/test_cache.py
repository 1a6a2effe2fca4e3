"""The cache that Django code imports, over a gateway on a thread of its own."""

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation

from resilience.cache.flights import Flights
from resilience.cache.memory import MemoryStore
from resilience.cache.objects import ObjectCaches
from routing import runtime
from routing.cache import cache
from tests.clock import FakeClock


class Opened:
    """The components that the cache uses."""

    def __init__(self) -> None:
        clock = FakeClock(1_000.0)
        self.loop = asyncio.get_running_loop()
        self.thread = threading.current_thread()
        self.objects = ObjectCaches(MemoryStore(clock), clock, Flights(clock=clock), lambda _hit: None)

    async def close(self) -> None:
        pass


class Starts:
    """Opens components, after failing as often as told."""

    def __init__(self) -> None:
        self.failures = 0
        self.opened: list[Opened] = []

    async def __call__(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError("the database is unavailable")
        self.opened.append(Opened())
        return self.opened[-1]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starts]:
    starts = Starts()
    monkeypatch.setattr(runtime, "_installed", runtime.Runtime(starts))
    yield starts
    for opened in starts.opened:
        opened.loop.call_soon_threadsafe(opened.loop.stop)
        opened.thread.join()


def test_the_first_use_starts_the_gateway_on_a_thread_of_its_own(starts: Starts) -> None:
    assert cache.set("name", 1)
    assert cache.get("name") == 1
    assert len(starts.opened) == 1
    assert starts.opened[0].thread is not threading.current_thread()


async def test_synchronous_methods_are_refused_on_an_event_loop(starts: Starts) -> None:
    with pytest.raises(SynchronousOnlyOperation):
        cache.get("name")
    assert starts.opened == []


async def test_asynchronous_methods_work_on_any_event_loop(starts: Starts) -> None:
    assert await cache.aset("name", 1)
    assert await cache.aget("name") == 1
    assert await asyncio.to_thread(cache.get, "name") == 1
    assert starts.opened[0].loop is not asyncio.get_running_loop()


async def test_an_await_that_is_cancelled_at_any_moment_strands_nobody(starts: Starts) -> None:
    """It may have become the one that is to compute the value, without learning of it."""

    async def compute() -> int:
        return 1

    assert await cache.aset("other", 1)
    for moment in range(200):
        name = f"name {moment}"
        leaving = asyncio.create_task(cache.aget_or_set(name, compute, ttl=0))
        if moment % 2:
            await asyncio.sleep(moment / 200_000)
        else:
            for _ in range(moment % 7):
                await asyncio.sleep(0)
        leaving.cancel()
        assert await asyncio.wait_for(cache.aget_or_set(name, compute), 10) == 1
        await asyncio.gather(leaving, return_exceptions=True)


async def test_they_work_on_the_gateways_own_loop(starts: Starts) -> None:
    await runtime.current().start()
    assert await cache.aset("name", 1)
    assert starts.opened[0].loop is asyncio.get_running_loop()
    starts.opened.clear()


def test_a_failed_start_is_raised_and_tried_again(starts: Starts) -> None:
    starts.failures = 1
    with pytest.raises(OSError, match="unavailable"):
        cache.get("name")
    assert cache.get("name") is None


def test_a_forked_process_starts_a_gateway_of_its_own(starts: Starts) -> None:
    """As under a server that loads the application before it forks."""
    cache.set("name", 1)
    child = os.fork()
    if child == 0:
        os._exit(0 if cache.get("name") is None and len(starts.opened) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("name") == 1
