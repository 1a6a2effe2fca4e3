"""Hold-offs of several workers over memory, a real Redis and a Redis that goes away."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from resilience.holdoff.driver import MAX_PER_SERVICE, Held, HoldOffs
from resilience.holdoff.memory import MemoryStore
from resilience.holdoff.policy import HoldOffPolicy
from resilience.holdoff.redis import KEY, RedisStore
from resilience.holdoff.rules import KEPT_SECONDS, HoldOff, Swap
from resilience.partition import Partition
from resilience.redis import RedisLink
from tests.clock import FakeClock
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import until

CALL = Partition("crm", "", "GET", "/x", "c")
POLICY = HoldOffPolicy()
Changes = list[tuple[Partition, HoldOff | None]]


class Worker:
    def __init__(self, url: str, clock: FakeClock) -> None:
        self.link = RedisLink(url)
        self.changes: Changes = []
        self.hold_offs = HoldOffs(
            RedisStore(self.link), clock=clock, on_change=lambda *change: self.changes.append(change)
        )

    async def start(self) -> "Worker":
        await self.link.start()
        await until(lambda: self.link.feed.alive)
        return self

    async def limit(self, wait: float | None) -> None:
        await self.hold_offs.limited(CALL, POLICY, wait)


async def agree(workers: list[Worker], condition: Callable[[HoldOffs], bool]) -> bool:
    """Whether the condition holds in all workers, once each has reloaded what is shared."""
    for worker in workers:
        await worker.hold_offs.refresh()
    return all(condition(worker.hold_offs) for worker in workers)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def workers(redis_url: str, clock: FakeClock) -> AsyncIterator[list[Worker]]:
    made = [await Worker(redis_url, clock).start() for _ in range(2)]
    yield made
    for worker in made:
        await worker.hold_offs.close()
        await worker.link.close()


async def test_both_heed_the_longer_one_and_one_of_them_probes(workers: list[Worker], clock: FakeClock) -> None:
    a, b = (worker.hold_offs for worker in workers)
    await asyncio.gather(workers[0].limit(30), workers[1].limit(50), workers[0].limit(20))
    # A message about a later change may come before the response to an earlier one: workers reload every second.
    await until(lambda: agree(workers, lambda each: each.retry_after(CALL) == 50))
    clock.advance(50)
    entered = await asyncio.gather(*(each.enter(CALL, 10) for each in (a, b) * 5), return_exceptions=True)
    (probes,) = [each for each in entered if isinstance(each, list)]
    assert [each for each in entered if not isinstance(each, list | Held)] == []
    (probe,) = probes
    await probe.accepted()
    await until(lambda: agree(workers, lambda each: not each.of("crm")))
    changes = workers[0].changes + workers[1].changes
    assert sorted(item is None for _, item in changes) == [False, True], "each is announced once"


async def test_a_models_limit_is_shared_and_others_are_stored_as_before(workers: list[Worker]) -> None:
    large, small = CALL._replace(model="large"), CALL._replace(model="small")
    await workers[0].hold_offs.limited(large, POLICY, 30)
    await until(lambda: agree(workers, lambda each: each.retry_after(large) == 30))
    assert await agree(workers, lambda each: each.retry_after(small) is None)
    await workers[1].limit(60)
    await until(lambda: agree(workers, lambda each: each.retry_after(small) == 60))
    stored = await workers[0].link.call(lambda client: client.hkeys(workers[0].link.key(KEY)))
    assert {b'["crm","","GET","/x","c"]', b'["crm","","GET","/x","c","large"]'} <= set(stored)


class SlowReplies(MemoryStore):
    """Changes by others are announced before its own replies, as over two connections. Each reply waits for `go`."""

    def __init__(self, shared: MemoryStore) -> None:
        super().__init__()
        self._shared = shared
        self.listen = shared.listen  # type: ignore[method-assign]
        self.go = asyncio.Event()

    async def load(self) -> dict[Partition, HoldOff]:
        loaded = await self._shared.load()
        await self.go.wait()
        return loaded

    async def swap(self, partition: Partition, before: HoldOff | None, after: HoldOff | None) -> Swap:
        swap = await self._shared.swap(partition, before, after)
        await self.go.wait()
        return swap


class Late:
    """A worker whose replies are late, and another one."""

    def __init__(self, clock: FakeClock) -> None:
        self.shared = MemoryStore()
        self._replies = SlowReplies(self.shared)
        self.late, self.other = HoldOffs(self._replies, clock=clock), HoldOffs(self.shared, clock=clock)

    async def limited(self, wait: float) -> "asyncio.Task[HoldOff | None]":
        task = asyncio.create_task(self.late.limited(CALL, POLICY, wait))
        await asyncio.sleep(0.001)
        return task

    def reply(self) -> None:
        self._replies.go.set()


async def test_a_reply_that_comes_after_a_later_change_is_not_kept(clock: FakeClock) -> None:
    both = Late(clock)
    made = await both.limited(30)
    await both.other.limited(CALL, POLICY, 50)
    both.reply()
    assert await made is not None
    assert both.late.retry_after(CALL) == both.other.retry_after(CALL) == 50


async def test_a_refusal_that_comes_after_a_later_change_is_not_kept(clock: FakeClock) -> None:
    both = Late(clock)
    earlier = HoldOff(clock.now, clock.now + 30)
    both.shared.put(CALL, earlier)
    refused = await both.limited(20)
    await both.shared.swap(CALL, earlier, earlier)  # its message
    await both.other.limited(CALL, POLICY, 50)
    both.reply()
    await refused
    assert both.late.retry_after(CALL) == both.other.retry_after(CALL) == 50


async def test_what_changes_while_all_are_loaded_is_kept(clock: FakeClock) -> None:
    both = Late(clock)
    refreshed = asyncio.create_task(both.late.refresh())
    await asyncio.sleep(0.001)
    await both.other.limited(CALL, POLICY, 50)
    both.reply()
    await refreshed
    assert both.late.retry_after(CALL) == 50


async def test_a_worker_that_missed_the_message_reads_it(workers: list[Worker], redis_url: str) -> None:
    link = RedisLink(redis_url)
    late = HoldOffs(RedisStore(link), clock=workers[0].hold_offs.clock)
    await workers[0].limit(30)
    await late.refresh()
    assert late.retry_after(CALL) == 30
    await link.close()


async def test_a_probe_of_a_dead_worker_blocks_nobody_for_long(workers: list[Worker], clock: FakeClock) -> None:
    a, b = (worker.hold_offs for worker in workers)
    await workers[0].limit(5)
    await until(lambda: b.retry_after(CALL) == 5)
    clock.advance(5)
    await a.enter(CALL, 10)
    with pytest.raises(Held):
        await b.enter(CALL, 10)
    clock.advance(10)
    assert await b.enter(CALL, 10)


async def test_a_cancelled_caller_keeps_no_probe(workers: list[Worker], clock: FakeClock) -> None:
    a = workers[0].hold_offs
    await workers[0].limit(5)
    clock.advance(5)
    entering = asyncio.ensure_future(a.enter(CALL, 10))
    await asyncio.sleep(0)
    entering.cancel()
    await asyncio.gather(entering, return_exceptions=True)

    async def can_probe() -> bool:
        try:
            return bool(await a.enter(CALL, 10))
        except Held:  # the cancelled one's lease is being returned
            return False

    await until(can_probe)


async def test_what_has_lapsed_is_removed(workers: list[Worker], clock: FakeClock) -> None:
    await workers[0].limit(5)
    clock.advance(5 + KEPT_SECONDS)
    for worker in workers:
        await worker.hold_offs.refresh()
        assert not worker.hold_offs.of("crm")


async def test_an_operator_lifts_all(workers: list[Worker]) -> None:
    a, b = (worker.hold_offs for worker in workers)
    await workers[0].limit(30)
    await a.limited(CALL._replace(path="/y"), POLICY, 30)
    await until(lambda: len(b.of("crm")) == 2)
    assert await b.lift_all("crm") == 2
    await until(lambda: not a.of("crm"))


async def test_a_service_with_many_limits_keeps_those_that_end_last(clock: FakeClock) -> None:
    store = MemoryStore()
    hold_offs = HoldOffs(store, clock=clock)
    for number in range(MAX_PER_SERVICE + 500):
        store.put(CALL._replace(path=f"/{number}"), HoldOff(0, clock.now + number + 1))
    await hold_offs.refresh()
    assert len(hold_offs.of("crm")) == MAX_PER_SERVICE
    assert hold_offs.retry_after(CALL._replace(path="/499")) is None
    assert hold_offs.retry_after(CALL._replace(path="/500")) is not None
    await hold_offs.limited(CALL, POLICY, 5_000)
    assert len(hold_offs.of("crm")) == MAX_PER_SERVICE
    assert hold_offs.retry_after(CALL) == 3_600


async def test_malformed_data_is_ignored(
    workers: list[Worker], shared_redis: RedisServer, redis_url: str, clock: FakeClock
) -> None:
    key = workers[0].link.key(KEY)
    with shared_redis.client() as client:
        client.hset(key, "not a partition", b"{}")
        client.hset(key, '["crm","","GET","/x","c"]', b"\xff")
        client.publish(workers[0].link.key("holdoff"), b"garbage")
    await workers[0].hold_offs.refresh()
    await workers[0].limit(30)
    await until(lambda: workers[1].hold_offs.retry_after(CALL) == 30)
    with shared_redis.client() as client:
        client.delete(key)
        client.set(key, "another program's")
    await workers[0].hold_offs.limited(CALL._replace(path="/y"), POLICY, 30)
    assert workers[0].hold_offs.retry_after(CALL._replace(path="/y")) == 30


async def test_without_redis_each_worker_holds_off_alone(own_redis: RedisServer, clock: FakeClock) -> None:
    first, second = [await Worker(own_redis.url, clock).start() for _ in range(2)]
    own_redis.stop()
    await first.limit(30)
    assert first.hold_offs.retry_after(CALL) == 30
    assert first.hold_offs.store.degraded
    await first.hold_offs.refresh()
    assert first.hold_offs.retry_after(CALL) == 30
    own_redis.start()
    await until(lambda: not first.link.unavailable and not second.link.unavailable)

    async def shared() -> bool:
        await first.hold_offs.refresh()
        await second.hold_offs.refresh()
        return second.hold_offs.retry_after(CALL) == 30

    await until(shared)
    assert first.hold_offs.retry_after(CALL) == 30
    for worker in (first, second):
        await worker.hold_offs.close()
        await worker.link.close()
