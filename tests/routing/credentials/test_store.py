"""Records and leases: one behaviour in memory and on Redis; tests/resilience/test_cluster.py has that of a cluster."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from routing.credentials.memory import MemoryStore
from routing.credentials.redis import RedisStore
from routing.credentials.store import LEASE_SECONDS, Store
from tests.clock import FakeClock
from tests.stores import opened_store


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    async with opened_store(request, lambda: MemoryStore(FakeClock()), RedisStore) as opened:
        yield opened


async def test_a_record_is_read_until_it_is_removed(store: Store) -> None:
    assert await store.read("a") is None
    await store.write("a", b"one", 60)
    await store.write("b", b"\x00\xff", 60)
    assert (await store.read("a"), await store.read("b")) == (b"one", b"\x00\xff")
    await store.remove("a")
    await store.remove("a")
    assert await store.read("a") is None
    await store.remove("b")


async def test_one_of_many_gets_a_lease_until_it_is_released(store: Store) -> None:
    claims = await asyncio.gather(*[store.claim("lease", f"worker-{number}") for number in range(20)])
    assert claims.count(True) == 1
    owner = f"worker-{claims.index(True)}"
    assert await store.claim("lease", owner)
    await store.release("lease", "another")
    assert not await store.claim("lease", "another")
    await store.release("lease", owner)
    assert await store.claim("lease", "another")
    await store.release("lease", "another")
    await store.announce("crm")


async def test_a_lease_and_a_record_in_memory_end() -> None:
    clock = FakeClock()
    memory = MemoryStore(clock)
    assert await memory.claim("lease", "dead")
    await memory.write("a", b"one", 10)
    clock.advance(LEASE_SECONDS + 0.1)
    assert await memory.claim("lease", "alive")
    assert await memory.read("a") is None
