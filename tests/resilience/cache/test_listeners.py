"""Who is told that entries were taken back: once, by the worker that did it."""

from functools import partial

from resilience.cache.memory import MemoryStore
from resilience.cache.tiers import TieredStore
from resilience.redis import RedisLink
from tests.clock import FakeClock
from tests.resilience.waiting import until


async def test_a_listener_hears_of_tags_and_of_whole_services() -> None:
    told: list[tuple[str, str]] = []
    store = MemoryStore(FakeClock())
    store.listeners.append(lambda service, tag: told.append((service, tag)))
    await store.invalidate("crm", "contacts")
    await store.invalidate("crm")
    assert told == [("crm", "contacts"), ("crm", "crm")]


def _note(told: list[int], index: int, _service: str, _tag: str) -> None:
    told.append(index)


async def test_of_several_workers_only_the_one_that_did_it_tells(redis_url: str) -> None:
    told: list[int] = []
    links = [RedisLink(redis_url), RedisLink(redis_url)]
    stores = [TieredStore(link) for link in links]
    for index, (store, link) in enumerate(zip(stores, links, strict=True)):
        store.listeners.append(partial(_note, told, index))
        await link.start()
    await until(lambda: all(link.feed.alive for link in links))
    await stores[0].invalidate("crm", "contacts")
    await links[0].publish("gw:cache", b'{"service":"crm","tag":"x","seq":1}')
    await until(lambda: stores[1]._fences["crm"] is not None)
    assert told == [0]
    for link in links:
        await link.close()
