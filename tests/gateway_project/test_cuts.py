"""Dropped connections and a failing Redis: accepted events arrive once and in order, or a gap is reported."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection

from tests.gateway_project.served import Served, read, serving
from tests.processes import eventually
from tests.redis_server import RedisServer

DROPS = 20
EVENTS_PER_DROP = 3


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Served]:
    """A gateway whose Redis may be stopped."""
    with serving(tmp_path_factory.mktemp("own"), 1, redis) as gateway:
        yield gateway


async def follow(served: Served, topic: str, last_id: str | None = None) -> ClientConnection:
    ws: ClientConnection = await served.socket()
    subscribe = {"type": "subscribe", "topics": [topic]} | ({"last_id": last_id} if last_id else {})
    await ws.send(msgspec.json.encode(subscribe).decode())
    assert (await read(ws))["topics"] == [topic]
    return ws


async def accepted(served: Served, data: Any, topic: str) -> bool:
    """Publish; whether the gateway accepted the event."""
    response = await asyncio.to_thread(served.publish, data, topic=topic)
    assert response.status_code in (202, 503)
    return response.status_code == 202


async def receive_until(ws: ClientConnection, last: int) -> tuple[list[int], bool]:
    """The data of the events up to `last`, and whether a gap was reported before it."""
    found: list[int] = []
    gap = False
    while last not in found:
        message = await read(ws)
        gap = gap or message.get("type") == "gap"
        found += [message["data"]] if "id" in message else []
    return found, gap


def publish_until_accepted(served: Served, data: int, topic: str) -> None:
    assert eventually(lambda: served.publish(data, topic=topic).status_code == 202, 60)


async def test_twenty_dropped_connections_lose_and_repeat_nothing(served: Served) -> None:
    total = DROPS * EVENTS_PER_DROP * 2

    async def publish() -> None:
        for number in range(total):
            assert await accepted(served, number, "drops")

    ws = await follow(served, "drops")
    publishing = asyncio.create_task(publish())
    got: list[int] = []
    for _ in range(DROPS):
        received = 0
        while received < EVENTS_PER_DROP:
            message = await read(ws)
            assert message.get("type") != "gap"
            if "id" in message:
                got.append(message["data"])
                last, received = message["id"], received + 1
        ws.transport.abort()  # no closing handshake, as when a phone loses its network
        ws = await follow(served, "drops", last)
    rest, gap = await receive_until(ws, total - 1)
    await publishing
    await ws.close()
    assert got + rest == list(range(total))
    assert not gap


async def test_a_stalled_redis_loses_no_accepted_event(own: Served, redis: RedisServer) -> None:
    ws = await follow(own, "stall")
    published = [number for number in range(5) if await accepted(own, number, "stall")]
    redis.pause()
    try:
        assert not await accepted(own, 5, "stall")
    finally:
        redis.resume()
    await asyncio.to_thread(publish_until_accepted, own, 6, "stall")
    got, gap = await receive_until(ws, 6)
    await ws.close()
    assert published == list(range(5))
    assert [number for number in dict.fromkeys(got) if number != 5] == [*published, 6]
    assert not gap


async def test_a_redis_that_lost_its_data_is_reported_as_a_gap(own: Served, redis: RedisServer) -> None:
    ws = await follow(own, "outage")
    await asyncio.to_thread(publish_until_accepted, own, 0, "outage")
    assert (await receive_until(ws, 0))[0] == [0]
    redis.stop()
    assert not await accepted(own, 1, "outage")
    redis.start()
    async with asyncio.timeout(60):
        while (await read(ws)).get("type") != "gap":
            pass
    await asyncio.to_thread(publish_until_accepted, own, 2, "outage")
    assert (await receive_until(ws, 2))[0] == [2]
    await ws.close()
