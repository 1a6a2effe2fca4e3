"""Every shared store over a real Redis Cluster of three nodes: each service's keys are on one node."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from resilience.breaker.machine import Snapshot, State
from resilience.breaker.redis import RedisStore as BreakerStore
from resilience.cache.hit_counter import HitCounter, ReplayableRequest
from resilience.cache.leases import ClaimResult
from resilience.cache.redis import RedisStore as CacheStore
from resilience.cache.redis_leases import RedisLeases
from resilience.cache.tiers import TieredStore
from resilience.outage import StoreUnavailable
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.redis import RedisStore as RateStore
from resilience.redis import RedisLink, Script
from routing.credentials.redis import RedisStore as CredentialStore
from routing.realtime.redis import RedisLog
from routing.webhooks.content import DeliveryIdentity
from routing.webhooks.queue import Added
from routing.webhooks.redis import RedisQueue
from tests.redis_cluster import RedisClusterServers
from tests.resilience.cache.entries import make, until

SERVICES = [f"service-{number}" for number in range(12)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisClusterServers]:
    servers = RedisClusterServers()
    try:
        servers.start()
        yield servers
    finally:
        servers.close()


@pytest.fixture
async def link(cluster: RedisClusterServers) -> AsyncIterator[RedisLink]:
    made = RedisLink(cluster.url)
    yield made
    await made.close()


async def test_entries_tags_and_fences(link: RedisLink, cluster: RedisClusterServers) -> None:
    store = CacheStore(link)
    for service in SERVICES:
        for number in range(3):
            assert await store.put(service, str(number), make(b"", "even" if number % 2 == 0 else "odd"), 0)
        assert (await store.get(service, "0")).entry == make(b"", "even")
        assert (await store.usage(service)).entries == 3
        invalidation = await store.invalidate(service, "even")
        assert invalidation.entries == 2
        assert not await store.put(service, "0", make(b"", "even"), invalidation.seq - 1)
        assert (await store.usage(service)).entries == 1
    homes = [cluster.keys(port) for port in cluster.ports]
    assert sum(bool(keys) for keys in homes) > 1  # not all on one node
    for service in SERVICES:
        assert sum(any(f"{{{service}}}" in key for key in keys) for keys in homes) == 1


async def test_an_invalidation_reaches_workers_that_listen_to_any_node(cluster: RedisClusterServers) -> None:
    links = [RedisLink(cluster.url) for _ in range(3)]
    stores = [TieredStore(one) for one in links]
    for one in links:
        await one.start()
    await until(lambda: all(one.feed.alive for one in links))
    for service in SERVICES:
        await stores[0].put(service, "near", make(b"", "a"), (await stores[0].get(service, "near")).seq)
        for store in stores:
            await store.get(service, "near")
            assert store.peek(service, "near")
        assert (await stores[1].invalidate(service, "a")).entries == 1
    await until(lambda: not any(store.peek(service, "near") for store in stores for service in SERVICES))
    for one in links:
        await one.close()


async def test_a_lease_is_held_and_released_on_every_node(link: RedisLink) -> None:
    leases = RedisLeases(link)
    for service in SERVICES:
        assert await leases.claim(service, "k", "one", missed=False) is ClaimResult.OURS
        assert await leases.claim(service, "k", "two", missed=False) is ClaimResult.THEIRS
        assert await leases.renew(service, "k", "one")
        await leases.release(service, "k", "one", ClaimResult.STORED, 60)
        assert await leases.claim(service, "k", "two", missed=False) is ClaimResult.STORED


async def test_hit_counts(link: RedisLink) -> None:
    hit_counter = HitCounter(link)
    for service in SERVICES:
        hit_counter.start_counting(service, service, ReplayableRequest(b"h", service.encode(), b""))
    await hit_counter.flush()
    for service in SERVICES:
        assert [request.path for request in await hit_counter.top(service, 5)] == [service.encode()]


async def test_a_limit_holds_whatever_node_has_it(link: RedisLink) -> None:
    store = RateStore(link)
    for number in range(12):
        policy = RatePolicy(3, 86_400.0)
        granted = [(await store.take(f"caller-{number}", policy, 0.0, 2)).granted for _ in range(3)]
        assert sum(granted) == 3


async def test_circuits(link: RedisLink) -> None:
    store = BreakerStore(link)
    opened = Snapshot(state=State.OPEN)
    for service in SERVICES:
        assert await store.swap(service, Snapshot(), opened) is None
        assert await store.swap(service, Snapshot(), opened) == opened
    assert [snapshot.state for snapshot in await store.load(SERVICES)] == [State.OPEN] * len(SERVICES)


async def test_leases_and_records_of_credentials(link: RedisLink) -> None:
    store = CredentialStore(link)
    for service in SERVICES:
        assert await store.claim(service, "worker-1")
        assert not await store.claim(service, "worker-2")
        await store.write(service, b"record", 60)
        assert await store.read(service) == b"record"
        await store.remove(service)
        await store.release(service, "worker-1")
        assert await store.claim(service, "worker-2")
        await store.announce(service)


async def test_deliveries_of_webhooks(cluster: RedisClusterServers) -> None:
    """With a worker that dies: the stream, its group and all that belongs to it are on one node."""
    links = [RedisLink(cluster.url) for _ in range(2)]
    one, two = (RedisQueue(link, idle_ms=200) for link in links)
    for number in range(40):
        assert await one.add(DeliveryIdentity(str(number), 60), b"%d" % number) is Added.QUEUED
        assert await two.add(DeliveryIdentity(str(number), 60), b"again") is Added.DUPLICATE
    dead, *rest = await one.take(10)
    await one.put_back(dead, b"later", 0)
    done = list[bytes]()
    while len(done) < 40:
        with contextlib.suppress(StoreUnavailable):
            for entry in await two.take(64):
                await two.done(entry)
                done.append(entry.data)
    assert sorted(done) == sorted([b"%d" % number for number in range(40) if b"%d" % number != dead.data] + [b"later"])
    assert len(rest) == 9
    assert await two.depth() == 0
    for link in links:
        await link.close()


async def test_an_event_that_is_sent_once(link: RedisLink) -> None:
    log = RedisLog(link)
    assert [bool(await log.append(b"record", "d1:0")) for _ in range(2)] == [True, False]


async def test_a_slot_that_is_moved_is_no_outage(link: RedisLink, cluster: RedisClusterServers) -> None:
    """Half of its keys are on each node, which neither node serves together. Others are served as before."""
    store, service, other = TieredStore(link), SERVICES[0], SERVICES[1]
    assert await store.put(service, "k", make(b"", "a"), (await store.get(service, "k")).seq)
    await link.call(lambda client: client.set(f"{{{service}}}", "stays"))
    client: Any = link.client
    slot = client.keyslot(f"{{{service}}}")
    owner, target = _owner_first(client, cluster, slot)
    identities = [node.execute_command("CLUSTER", "MYID") for node in (owner, target)]
    target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", identities[0])
    owner.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", identities[1])
    with pytest.raises(StoreUnavailable, match="being moved"):
        await link.run(Script("return redis.call('MGET', unpack(KEYS))"), [f"{{{service}}}{end}" for end in ("", "x")])
    assert not link.unavailable
    await store.get(other, "k")
    for key in owner.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
        owner.migrate("127.0.0.1", target.connection_pool.connection_kwargs["port"], key, 0, 5_000)
    for node in (target, owner):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", identities[1])
    assert (await store.get(service, "k")).entry is None  # the new node cannot know what was invalidated meanwhile
    assert await store.put(service, "k", make(b"", "a"), (await store.get(service, "k")).seq)
    assert (await store.invalidate(service, "a")).entries == 1


def _owner_first(client: Any, cluster: RedisClusterServers, slot: int) -> tuple[Any, Any]:
    """Clients of the node that has the slot, and of another one."""
    owner = client.nodes_manager.get_node_from_slot(slot).port
    other = next(port for port in cluster.ports if port != owner)
    return cluster.client(owner), cluster.client(other)
