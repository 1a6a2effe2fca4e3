"""Malformed and differently encoded circuits in Redis."""

import logging
from collections.abc import AsyncIterator

import pytest

from resilience.breaker.machine import Snapshot, State
from resilience.breaker.redis import RedisStore
from resilience.redis import RedisLink
from tests.redis_server import RedisServer

OPEN = Snapshot(state=State.OPEN, generation=1, until=2.0)


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[RedisStore]:
    link = RedisLink(redis_url)
    await link.start()
    yield RedisStore(link)
    await link.close()


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"{", b"[]", b'{"state":"AJAR"}', b'{"generation":"x"}'])
async def test_a_malformed_circuit_counts_as_absent_and_hides_no_other(
    store: RedisStore, shared_redis: RedisServer, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await store.swap("good", Snapshot(), OPEN)
    with shared_redis.client() as client:
        client.set("gw:breaker:bad", garbage)
    with caplog.at_level(logging.WARNING):
        assert await store.load(["bad", "good"]) == [Snapshot(), OPEN]
    assert "circuit of bad" in caplog.text
    assert await store.swap("bad", OPEN, Snapshot(generation=2)) == Snapshot()
    assert await store.swap("bad", Snapshot(), OPEN) is None
    assert await store.load(["bad"]) == [OPEN]


async def test_a_differently_encoded_circuit_is_equal_by_value(store: RedisStore, shared_redis: RedisServer) -> None:
    with shared_redis.client() as client:
        client.set("gw:breaker:crm", b'{ "generation": 1, "until": 2, "state": "OPEN", "of_a_later_version": true }')
    assert await store.load(["crm"]) == [OPEN]
    closed = Snapshot(generation=2)
    assert await store.swap("crm", OPEN, closed) is None
    assert await store.load(["crm"]) == [closed]
