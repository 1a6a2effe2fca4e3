"""Several workers with one Redis."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.task_set import cancel_and_wait
from routing.realtime.event_id import EventId, parse_event_id
from routing.realtime.redis import LIFE, STREAM, RedisLog
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
        await _set_clocks_to_redis(made)
        yield made


async def _set_clocks_to_redis(made: list[Worker]) -> None:
    """Ids are from the clock of the Redis server."""
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
        received = results[: len(clients)]
        assert all(sorted(events) == sorted(received[0]) for events in received)
        assert received[0] == received[20] == received[21]
        assert received[10] == received[30] == received[31]
        for index in range(2):
            own = [event for event in received[0] if event.startswith(f"{index}-")]
            assert own == [f"{index}-{number}" for number in range(50)]


async def _publish(worker: Worker, topic: str, data: list[str]) -> None:
    for item in data:
        await worker.realtime.publish(topic, "tick", item)


@pytest.mark.parametrize("seed", range(3))
async def test_a_client_that_reconnects_twenty_times_gets_every_event_exactly_once(redis_url: str, seed: int) -> None:
    rng = random.Random(seed)
    async with workers(redis_url) as made:
        received: list[int] = []
        publishing = asyncio.create_task(_publish_numbers(made, 400))
        last_id: str | None = None
        for connection in range(21):
            client = rng.choice(made).client()
            await _reconnect(client, last_id, rng)
            remaining = 400 - len(received) if connection == 20 else rng.randrange(19)
            while remaining:
                message = await client.read()
                if "id" in message:
                    last_id, remaining = message["id"], remaining - 1
                    received.append(message["data"])
                elif connection and last_id is None:
                    last_id = message.get("last_id")
            client.leave()
            await asyncio.sleep(rng.random() * 0.02)
            if last_id is None:  # no event received yet: replay from the beginning
                last_id = FIRST
        await publishing
        assert received == list(range(400))


FIRST = "1-0"


async def _reconnect(client: Client, last_id: str | None, rng: random.Random) -> None:
    if last_id in (None, FIRST):
        await client.send(type="subscribe", topics=["a"], last_id=_floor_of(client))
    elif rng.random() < 0.5:
        await client.send(type="subscribe", topics=["a"])
        await client.send(type="resume", last_id=last_id)
    else:
        await client.send(type="subscribe", topics=["a"], last_id=last_id)


def _floor_of(client: Client) -> str:
    floor = client.worker.realtime.hub.history.floor
    return f"{floor[0]}-{floor[1]}"


async def _publish_numbers(made: list[Worker], count: int) -> None:
    for number in range(count):
        await random.choice(made).realtime.publish("a", "tick", number)
        await asyncio.sleep(0.001)


async def test_a_worker_that_starts_later_replays_the_last_minutes(redis_url: str) -> None:
    async with workers(redis_url, 1) as first:
        start = await first[0].realtime.publish("a", "tick", 0)
        await _publish(first[0], "a", ["1", "2"])
        async with workers(redis_url, 1) as second:
            await until(lambda: len(second[0].realtime.hub.history) == 3)
            client = second[0].client()
            await client.send(type="subscribe", topics=["a"], last_id=start)
            assert await client.events(2) == ["1", "2"]


async def test_after_a_restart_of_redis_clients_are_notified_of_a_gap_and_get_new_events(
    own_redis: RedisServer,
) -> None:
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
        await _publish_after_recovery(made[1])
        assert [await client.events(1) for client in clients] == [["after"]] * 2
        assert all(client.session.subscriber.closing is None for client in clients)


async def _publish_after_recovery(worker: Worker) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await worker.realtime.publish("a", "tick", "after")
            except StoreUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.redis_timeout
async def test_a_pause_of_redis_loses_no_event(own_redis: RedisServer) -> None:
    async with workers(own_redis.url) as made:
        client = made[0].client(["a"])
        await made[1].realtime.publish("a", "tick", 1)
        assert await client.events(1) == [1]
        own_redis.pause()
        with pytest.raises(StoreUnavailable):
            await made[1].realtime.publish("a", "tick", 2)
        own_redis.resume()
        await _publish_after_recovery(made[1])
        received: list[Any] = []
        while "after" not in received:
            message = await client.read()
            assert message["type"] != "gap"
            received.append(message.get("data"))


async def test_the_stream_is_trimmed_and_holds_no_credential(own_redis: RedisServer) -> None:
    async with workers(own_redis.url, 1) as made:
        await _publish(made[0], "a", ["x"] * 5)
        with own_redis.client() as client:
            assert client.xlen("gw:{events}") == 5
            assert client.exists(f"gw:{LIFE}")
            assert b"gw_" not in b"".join(fields[b"e"] for _, fields in client.xrange("gw:{events}"))


class Recorder:
    """A follower of the log."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def on_start(self, *_: object) -> None: ...

    def on_gap(self) -> None: ...

    def on_record(self, _: object, record: bytes) -> None:
        self.records.append(record)


async def test_an_event_that_was_published_before_any_worker_joined_is_replayed(redis_url: str) -> None:
    link, recorder = RedisLink(redis_url), Recorder()
    log = RedisLog(link)
    await log.append(b"first")
    await asyncio.sleep(0.01)
    following = asyncio.create_task(log.follow(recorder))
    await until(lambda: recorder.records == [b"first"])
    await cancel_and_wait(following)
    await link.close()


async def test_an_unexpected_error_of_the_client_does_not_end_the_log(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the Redis client raises in a failover is not only what it documents."""
    link, recorder = RedisLink(redis_url), Recorder()
    log, read = RedisLog(link), link.client.xread
    errors = [RuntimeError("the connection is that of another server")]

    async def failing(*arguments: Any, **more: Any) -> Any:
        if errors:
            raise errors.pop()
        return await read(*arguments, **more)

    monkeypatch.setattr(link.client, "xread", failing)
    following = asyncio.create_task(log.follow(recorder))
    await until(lambda: not errors)
    await log.append(b"after")
    await until(lambda: recorder.records == [b"after"])
    assert caplog.text.count("the event log could not be read") == 1
    await cancel_and_wait(following)
    await link.close()


async def test_an_event_that_is_sent_once_is_appended_once(redis_url: str) -> None:
    async with workers(redis_url) as (one, two):
        client = two.client(["a"])
        ids = [
            await worker.realtime.publish("a", "kind", number, "d1:0") for number, worker in enumerate((one, two, one))
        ]
        await one.realtime.publish("a", "kind", "last", "d2:0")
        assert [bool(event_id) for event_id in ids] == [True, False, False]
        assert await client.events(2) == [0, "last"]


async def test_the_first_event_of_a_new_stream_is_beyond_those_of_the_one_it_replaces(redis_url: str) -> None:
    """Also in the same millisecond, in which Redis would begin with the same id: followers would not be sent it."""
    link = RedisLink(redis_url)
    log = RedisLog(link)
    ids: list[EventId] = []
    for _ in range(50):
        ids += [parse_event_id(await log.append(record)) or (0, 0) for record in (b"a", b"b")]
        await link.client.delete(link.key(STREAM))
    await link.close()
    assert ids == sorted(set(ids))
