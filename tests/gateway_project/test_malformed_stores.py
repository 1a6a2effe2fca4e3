"""Another program writes over each store's keys: nothing but StoreUnavailable is raised, and the store recovers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings
from redis import Redis

from gateway_project.django_settings.channel_layer import ChannelLayer
from gateway_project.django_settings.redis import caches as cache_settings
from gateway_project.django_settings.redis import channel_layers, session_engine
from gateway_project.parts.stores import Stores
from metrics.counting.counts import split_by_minute
from metrics.counting.store import Flush
from resilience.breaker.machine import Snapshot, State
from resilience.cache.hit_counter import HitCounter, ReplayableRequest
from resilience.cache.leases import ClaimResult
from resilience.outage import StoreUnavailable
from resilience.ratelimit.policy import RatePolicy
from resilience.redis import RedisLink
from resilience.task_set import cancel_and_wait
from routing.balancing.rules import HealthVerdict
from routing.idempotency.record import RETENTION_SECONDS, IdempotencyRecord
from routing.realtime.event import EventRecord, encode_record
from tests.malformed import KINDS, Put, overwrite
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import make, until


@pytest.fixture(params=KINDS)
def put(request: pytest.FixtureRequest) -> Put:
    return KINDS[request.param]


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[RedisLink]:
    made = RedisLink(redis_url)
    yield made
    await made.close()


@pytest.fixture
def outside(shared_redis: RedisServer, redis_url: str) -> Iterator[Redis]:
    with shared_redis.client() as client:
        yield client


async def recovers(operation: Callable[[], Awaitable[Any]]) -> Any:
    """The result of the first time that it succeeds."""
    for _ in range(3):
        try:
            return await operation()
        except StoreUnavailable:
            await asyncio.sleep(0.01)
    return await operation()


async def test_responses_are_stored_and_invalidated_again(link: RedisLink, outside: Redis, put: Put) -> None:
    store = Stores.over(link).responses

    async def fill() -> bool:
        return await store.put("mail", "k", make(b"", "a"), (await store.get("mail", "k")).seq)

    async def serves() -> bool:
        return (await store.get("mail", "k")).entry is not None

    assert await fill()
    assert len(overwrite(outside, put)) == 4
    await until(fill)
    assert await serves()
    assert (await recovers(lambda: store.invalidate("mail", "a"))).entries >= 0
    assert not await serves()
    await until(fill)
    assert (await store.usage("mail")).entries == 1
    assert (await store.invalidate("mail", "a")).entries == 1


@pytest.mark.parametrize("index", ["a", "mail"])
async def test_nothing_is_served_that_an_overwritten_index_had(
    link: RedisLink, outside: Redis, put: Put, index: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Stores.over(link).responses
    for key in ("k", "other"):
        assert await store.put("mail", key, make(b"", "a", key), (await store.get("mail", key)).seq)
    name = f"gw:{{mail}}:t:{index}".encode()
    is_index = outside.delete(name) and put(outside, name) and outside.type(name) == b"zset"
    await recovers(lambda: store.invalidate("mail", index))
    if not is_index:  # a sorted set is taken for what remains of the index
        assert (await store.get("mail", "k")).entry is None
        assert caplog.text.count("an index of the cache of mail is malformed") == 1
    assert outside.type(name) in (b"none", b"zset")


async def test_an_overwritten_index_is_made_anew_by_a_put(link: RedisLink, outside: Redis) -> None:
    store = Stores.over(link).responses
    assert await store.put("mail", "old", make(b"", "a"), (await store.get("mail", "old")).seq)
    outside.set("gw:{mail}:t:a", "x")
    assert not await store.put("mail", "k", make(b"", "a"), (await store.get("mail", "k")).seq)
    await until(lambda: not outside.exists("gw:{mail}:e:old"))
    await until(lambda: not outside.exists("gw:{mail}:t:a"))
    assert await store.put("mail", "k", make(b"", "a"), (await store.get("mail", "k")).seq)
    assert (await store.invalidate("mail", "a")).entries == 1


async def test_leases_are_given_again(link: RedisLink, outside: Redis, put: Put) -> None:
    leases = Stores.over(link).leases
    assert leases is not None
    assert await leases.claim("mail", "k", "one", missed=False) is ClaimResult.OURS
    (key,) = overwrite(outside, put)
    await leases.renew("mail", "k", "one")
    await leases.release("mail", "k", "one", ClaimResult.STORED, 1)
    if await leases.claim("mail", "k", "two", missed=False) is not ClaimResult.OURS:
        assert 0 < int(str(outside.pttl(key))) <= 5_000  # as one whose owner is dead


async def test_limits_are_exact_again(link: RedisLink, outside: Redis, put: Put) -> None:
    store, policy = Stores.over(link).rates, RatePolicy(10, 60)
    first = await store.take("ann", policy, 0, 3)
    overwrite(outside, put)
    await recovers(lambda: store.refund("ann", first.slice, 1))
    assert (await recovers(lambda: store.take("ann", policy, 0, 10))).granted == 10
    assert (await store.take("ann", policy, 0, 1)).granted == 0


async def test_circuits_start_closed_and_are_shared_again(
    link: RedisLink, outside: Redis, put: Put, caplog: pytest.LogCaptureFixture
) -> None:
    store = Stores.over(link).circuits
    is_open = Snapshot(State.OPEN, 1)
    assert await store.swap("crm", Snapshot(), is_open) is None
    overwrite(outside, put)
    for _ in range(3):
        assert await store.load(["crm"]) == [Snapshot()]
    assert caplog.text.count("malformed") == 1
    assert await store.swap("crm", Snapshot(), is_open) is None
    assert await store.load(["crm"]) == [is_open]


async def test_health_checks_have_a_leader_again(link: RedisLink, outside: Redis, put: Put) -> None:
    store, verdicts = Stores.over(link).targets, {"a": HealthVerdict(down=True)}
    assert await store.lead("one", 0.1)
    assert await store.save("one", verdicts)
    overwrite(outside, put)
    await recovers(store.load)

    async def leads() -> bool:
        return bool(await recovers(lambda: store.lead("two", 0.1)))

    await until(leads)
    assert await recovers(store.load) == {}
    assert await store.save("two", verdicts) or await leads()


async def test_a_malformed_record_of_a_write_ends_with_its_retention(link: RedisLink, outside: Redis, put: Put) -> None:
    store = Stores.over(link).writes
    record = IdempotencyRecord("one", b"f")
    assert await store.begin("k", record, 10) is None
    (key,) = overwrite(outside, put)
    with pytest.raises(StoreUnavailable):
        await store.begin("k", record, 10)
    assert 0 < int(str(outside.ttl(key))) <= RETENTION_SECONDS


async def test_counts_go_on_and_none_is_lost_or_counted_twice(link: RedisLink, outside: Redis, put: Put) -> None:
    store, field = Stores.over(link).counts, "60|mail|requests"
    await store.add(Flush(id="1", worker="w", at=0, counts={field: 1}, gauges={"g": 1}))
    assert await store.take(None) is not None
    await store.add(Flush(id="2", worker="w", at=0, counts={field: 1}))
    outside.delete("gw:{metrics}:flushed:1", "gw:{metrics}:flushed:2")
    assert len(overwrite(outside, put)) == 3
    flush = Flush(id="3", worker="w", at=link.now(), counts={field: 5}, gauges={"g": 3})
    await recovers(lambda: store.add(flush))
    await store.add(flush)
    pending = await recovers(lambda: store.pending(link.now()))
    assert pending.gauges == {"g": 3}
    total = 0
    for _ in range(3):
        batch = await recovers(lambda: store.take(None))
        if batch:
            total += batch.counts.get(field, 0)
            assert set(split_by_minute(batch.counts)) <= {(60, "mail")}
            await store.acknowledge(batch.id)
    assert total == 5


async def test_a_lease_on_counts_without_an_end_gets_one(link: RedisLink, outside: Redis) -> None:
    outside.set("gw:{metrics}:lease", "x")
    assert await Stores.over(link).counts.take("w") is None
    assert 0 < int(str(outside.ttl("gw:{metrics}:lease"))) <= 10


class Follower:
    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.gaps = 0

    def on_start(self, *_: object) -> None:
        pass

    def on_record(self, _id: object, record: bytes) -> None:
        self.records.append(record)

    def on_gap(self) -> None:
        self.gaps += 1


async def test_events_are_delivered_again(link: RedisLink, outside: Redis, put: Put) -> None:
    log, follower = Stores.over(link).events, Follower()
    following = asyncio.create_task(log.follow(follower))
    record = encode_record(EventRecord("k", "t", 1.0, b"1"))  # type: ignore[arg-type]
    await log.append(record)
    await until(lambda: follower.records == [record])
    overwrite(outside, put)
    appended = 1

    async def is_delivered() -> bool:
        nonlocal appended
        await recovers(lambda: log.append(record))
        appended += 1
        return follower.records[1:2] == [record]

    await until(is_delivered)
    # What is appended before the follower has joined again is in a gap.
    await until(lambda: follower.gaps > 0 or len(follower.records) == appended)
    await cancel_and_wait(following)


async def test_hits_are_counted_again(link: RedisLink, outside: Redis, put: Put) -> None:
    counter, request = HitCounter(link), ReplayableRequest(b"h", b"/", b"")
    for _ in range(3):
        counter.start_counting("mail", "k", request)
        await counter.flush()
        if outside.type("gw:{mail}:hot") != b"zset" or outside.zcard("gw:{mail}:hot") > 1:
            break
        overwrite(outside, put)
    assert request in await recovers(lambda: counter.top("mail", 5)) or outside.type("gw:{mail}:hot") == b"none"
    counter.start_counting("mail", "k", request)
    await counter.flush()
    assert request in await counter.top("mail", 5)


def test_djangos_cache_finds_nothing(outside: Redis, redis_url: str, put: Put) -> None:
    with override_settings(CACHES=cache_settings(redis_url, "gw")):
        cache = caches["default"]
        cache.set("a", {"b": 1})
        overwrite(outside, put)
        if put not in (KINDS["number"], KINDS["json"]):  # these are values
            assert cache.get("a", "default") == "default"
            assert cache.get_many(["a"]) in ({}, None)
        cache.set("a", 1)
        assert cache.get("a") == 1


@pytest.mark.django_db
def test_a_session_is_read_from_the_database(outside: Redis, redis_url: str, put: Put) -> None:
    with override_settings(CACHES=cache_settings(redis_url, "gw"), SESSION_ENGINE=session_engine(redis_url)):
        from gateway_project.sessions.cached import SessionStore

        session = SessionStore()
        session["user"] = "ann"
        session.save()
        overwrite(outside, put)
        assert SessionStore(session.session_key)["user"] == "ann"
        assert SessionStore(session.session_key)["user"] == "ann"


async def test_what_is_no_message_of_the_channel_layer_is_ignored(outside: Redis, redis_url: str) -> None:
    layer = ChannelLayer(**channel_layers(redis_url, "gw")["default"]["CONFIG"])
    channel = await layer.new_channel()
    for garbage in (b"", b"x", b"\xff" * 40, b"\x81\xa4type\x01", b"\x80", b"\x81\x90\x01", b"\x91" * 5_000):
        outside.publish(channel, garbage)
    await layer.send(channel, {"type": "own"})
    assert await asyncio.wait_for(layer.receive(channel), 20) == {"type": "own"}
    await layer.flush()
