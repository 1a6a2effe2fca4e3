"""Several workers over one real Redis."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.realtime.redis import LIFE, RedisLog
from tests.redis_server import RedisServer
from tests.resilience.waiting import until
from tests.routing.realtime.world import Client, Worker


@asynccontextmanager
async def workers(url: str, count: int = 2) -> AsyncIterator[list[Worker]]:
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(count):
            link = RedisLink(url)
            await link.start()
            stack.push_async_callback(link.close)
            worker = await stack.enter_async_context(Worker(RedisLog(link)))
            await until(lambda worker=worker: worker.realtime.hub.history.last != (0, 0))  # type: ignore[misc]
            made.append(worker)
        await _adopt_time(made)
        yield made


async def _adopt_time(made: list[Worker]) -> None:
    """Ids are of the server's clock."""
    for worker in made:
        worker.clock.now = worker.realtime.hub.history.last[0] / 1_000


async def test_every_subscriber_on_two_workers_gets_every_event_once_and_in_order(redis_url: str) -> None:
    async with workers(redis_url) as made:
        clients = [worker.client([topic]) for worker in made for topic in ("a", "b") for _ in range(10)]
        publishing = [
            _publish(worker, topic, [f"{index}-{number}" for number in range(50)])
            for index, worker in enumerate(made)
            for topic in ("a", "b")
        ]
        results = await asyncio.gather(*(client.events(100) for client in clients), *publishing)
        got = results[: len(clients)]
        assert all(sorted(events) == sorted(got[0]) for events in got)
        assert got[0] == got[20] == got[21]
        assert got[10] == got[30] == got[31]
        for index in range(2):
            own = [event for event in got[0] if event.startswith(f"{index}-")]
            assert own == [f"{index}-{number}" for number in range(50)]


async def _publish(worker: Worker, topic: str, data: list[str]) -> None:
    for item in data:
        await worker.realtime.publish(topic, "tick", item)


@pytest.mark.parametrize("seed", range(3))
async def test_a_connection_cut_twenty_times_misses_nothing_and_gets_nothing_twice(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    async with workers(redis_url) as made:
        got: list[int] = []
        publishing = asyncio.create_task(_publish_numbers(made, 400))
        last_id: str | None = None
        for cut in range(21):
            client = chance.choice(made).client()
            await _come_back(client, last_id, chance)
            wanted = 400 - len(got) if cut == 20 else chance.randrange(19)
            while wanted:
                message = await client.read()
                if "id" in message:
                    last_id, wanted = message["id"], wanted - 1
                    got.append(message["data"])
                elif cut and last_id is None:
                    last_id = message.get("last_id")
            client.leave()
            await asyncio.sleep(chance.random() * 0.02)
            if last_id is None:  # nothing was heard yet: what came first is still owed
                last_id = FIRST
        await publishing
        assert got == list(range(400))


FIRST = "1-0"


async def _come_back(client: Client, last_id: str | None, chance: random.Random) -> None:
    if last_id in (None, FIRST):
        await client.send(type="subscribe", topics=["a"], last_id=_beginning(client))
    elif chance.random() < 0.5:
        await client.send(type="subscribe", topics=["a"])
        await client.send(type="resume", last_id=last_id)
    else:
        await client.send(type="subscribe", topics=["a"], last_id=last_id)


def _beginning(client: Client) -> str:
    floor = client.worker.realtime.hub.history.floor
    return f"{floor[0]}-{floor[1]}"


async def _publish_numbers(made: list[Worker], count: int) -> None:
    for number in range(count):
        await random.choice(made).realtime.publish("a", "tick", number)
        await asyncio.sleep(0.001)


async def test_a_worker_that_starts_later_knows_the_last_minutes(redis_url: str) -> None:
    async with workers(redis_url, 1) as first:
        start = await first[0].realtime.publish("a", "tick", 0)
        await _publish(first[0], "a", ["1", "2"])
        async with workers(redis_url, 1) as second:
            await until(lambda: len(second[0].realtime.hub.history) == 3)
            client = second[0].client()
            await client.send(type="subscribe", topics=["a"], last_id=start)
            assert await client.events(2) == ["1", "2"]


async def test_redis_stopped_and_started_tells_a_gap_and_goes_on(own_redis: RedisServer) -> None:
    async with workers(own_redis.url) as made:
        clients = [worker.client(["a"]) for worker in made]
        await made[0].realtime.publish("a", "tick", "before")
        assert [await client.events(1) for client in clients] == [["before"]] * 2
        own_redis.stop()
        with pytest.raises(StoreUnavailable):
            await made[0].realtime.publish("a", "tick", "lost")
        own_redis.start()
        for client in clients:
            assert (await client.read())["type"] == "gap"
        await _publish_when_back(made[1])
        assert [await client.events(1) for client in clients] == [["after"]] * 2
        assert all(client.session.subscriber.closing is None for client in clients)


async def _publish_when_back(worker: Worker) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await worker.realtime.publish("a", "tick", "after")
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_pause_of_redis_loses_nothing(own_redis: RedisServer) -> None:
    async with workers(own_redis.url) as made:
        client = made[0].client(["a"])
        await made[1].realtime.publish("a", "tick", 1)
        assert await client.events(1) == [1]
        own_redis.pause()
        with pytest.raises(StoreUnavailable):
            await made[1].realtime.publish("a", "tick", 2)
        own_redis.resume()
        await _publish_when_back(made[1])
        said: list[Any] = []
        while "after" not in said:
            message = await client.read()
            assert message["type"] != "gap"
            said.append(message.get("data"))


async def test_the_stream_is_trimmed_and_holds_no_credential(own_redis: RedisServer) -> None:
    async with workers(own_redis.url, 1) as made:
        await _publish(made[0], "a", ["x"] * 5)
        with own_redis.client() as client:
            assert client.xlen("gw:{events}") == 5
            assert client.exists(LIFE)
            assert b"gw_" not in b"".join(fields[b"e"] for _, fields in client.xrange("gw:{events}"))
