"""Connections that are cut, and a Redis that goes: what was promised comes, once and in order, or a gap is told."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection

from tests.gateway_project.served import Served, read, serving
from tests.processes import eventually
from tests.redis_server import RedisServer

CUTS = 20
EACH = 3


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Served]:
    """A gateway whose Redis may be stopped."""
    with serving(tmp_path_factory.mktemp("alone"), 1, redis) as gateway:
        yield gateway


async def follow(served: Served, topic: str, last_id: str | None = None) -> ClientConnection:
    ws: ClientConnection = await served.socket()
    asked = {"type": "subscribe", "topics": [topic]} | ({"last_id": last_id} if last_id else {})
    await ws.send(msgspec.json.encode(asked).decode())
    assert (await read(ws))["topics"] == [topic]
    return ws


async def promised(served: Served, data: Any, topic: str) -> bool:
    """Whether the gateway took it upon itself to tell."""
    answer = await asyncio.to_thread(served.publish, data, topic=topic)
    assert answer.status_code in (202, 503)
    return answer.status_code == 202


async def heard_until(ws: ClientConnection, last: int) -> tuple[list[int], bool]:
    """The data of the events up to `last`, and whether a gap was told before it."""
    found: list[int] = []
    gap = False
    while last not in found:
        message = await read(ws)
        gap = gap or message.get("type") == "gap"
        found += [message["data"]] if "id" in message else []
    return found, gap


def until_promised(served: Served, data: int, topic: str) -> None:
    assert eventually(lambda: served.publish(data, topic=topic).status_code == 202, 60)


async def test_twenty_cuts_in_a_row_lose_nothing_and_repeat_nothing(served: Served) -> None:
    total = CUTS * EACH * 2

    async def publish() -> None:
        for number in range(total):
            assert await promised(served, number, "cuts")

    ws = await follow(served, "cuts")
    publishing = asyncio.create_task(publish())
    got: list[int] = []
    for _ in range(CUTS):
        of_this = 0
        while of_this < EACH:
            message = await read(ws)
            assert message.get("type") != "gap"
            if "id" in message:
                got.append(message["data"])
                last, of_this = message["id"], of_this + 1
        ws.transport.abort()  # no closing handshake: as a phone in a tunnel
        ws = await follow(served, "cuts", last)
    rest, gap = await heard_until(ws, total - 1)
    await publishing
    await ws.close()
    assert got + rest == list(range(total))
    assert not gap


async def test_a_redis_that_stalls_costs_nothing_of_what_was_promised(alone: Served, redis: RedisServer) -> None:
    ws = await follow(alone, "stall")
    kept = [number for number in range(5) if await promised(alone, number, "stall")]
    redis.pause()
    try:
        assert not await promised(alone, 5, "stall")
    finally:
        redis.resume()
    await asyncio.to_thread(until_promised, alone, 6, "stall")
    got, gap = await heard_until(ws, 6)
    await ws.close()
    assert kept == list(range(5))
    assert [number for number in dict.fromkeys(got) if number != 5] == [*kept, 6]
    assert not gap


async def test_a_redis_that_forgot_all_is_told_as_a_gap_on_a_connection_that_stays(
    alone: Served, redis: RedisServer
) -> None:
    ws = await follow(alone, "outage")
    await asyncio.to_thread(until_promised, alone, 0, "outage")
    assert (await heard_until(ws, 0))[0] == [0]
    redis.stop()
    assert not await promised(alone, 1, "outage")
    redis.start()
    async with asyncio.timeout(60):
        while (await read(ws)).get("type") != "gap":
            pass
    await asyncio.to_thread(until_promised, alone, 2, "outage")
    assert (await heard_until(ws, 2))[0] == [2]
    await ws.close()
