"""Listeners for invalidations are called once, in the worker that made them."""

from functools import partial

from resilience.cache.memory import MemoryStore
from resilience.cache.tiers import TieredStore
from resilience.redis import RedisLink
from tests.clock import FakeClock
from tests.resilience.waiting import until


async def test_a_listener_is_called_for_tags_and_for_whole_services() -> None:
    calls: list[tuple[str, str]] = []
    store = MemoryStore(FakeClock())
    store.listeners.append(lambda service, tag: calls.append((service, tag)))
    await store.invalidate("crm", "contacts")
    await store.invalidate("crm")
    assert calls == [("crm", "contacts"), ("crm", "crm")]


def _record(calls: list[int], index: int, _service: str, _tag: str) -> None:
    calls.append(index)


async def test_only_the_worker_that_invalidates_calls_its_listeners(redis_url: str) -> None:
    calls: list[int] = []
    links = [RedisLink(redis_url), RedisLink(redis_url)]
    stores = [TieredStore(link) for link in links]
    for index, (store, link) in enumerate(zip(stores, links, strict=True)):
        store.listeners.append(partial(_record, calls, index))
        await link.start()
    await until(lambda: all(link.feed.alive for link in links))
    await stores[0].invalidate("crm", "contacts")
    await links[0].publish("gw:cache", b'{"service":"crm","tag":"x","seq":1}')
    await until(lambda: stores[1]._fences["crm"] is not None)
    assert calls == [0]
    for link in links:
        await link.close()
