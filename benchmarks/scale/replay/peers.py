"""What a worker has around it: the others, as far as it notices them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import count
from typing import Final

import msgspec

from benchmarks.scale.fleet import shared_paths
from benchmarks.scale.worker import VirtualWorker
from resilience.cache.entry import Entry
from resilience.cache.redis import INVALIDATION_CHANNEL, InvalidationNotice, RedisStore
from resilience.outage import StoreUnavailable
from resilience.redis import PROBE_SECONDS, RedisLink
from resilience.task_set import TaskSet

_notice: Final = msgspec.json.Decoder(InvalidationNotice)


class Peers:
    """One worker more, which takes the counters to the database, and fetches each shared response again at once when it
    was invalidated, as of many workers one does. With `share`, it also writes and publishes as much as all others do.
    """

    def __init__(self, url: str) -> None:
        self._worker = VirtualWorker(url)
        self._link = RedisLink(url)
        self._link.feed.listen(INVALIDATION_CHANNEL, self._on_notice)
        self._store = RedisStore(self._link)
        self._entries: defaultdict[tuple[str, str], list[tuple[str, Entry]]] = defaultdict(list)
        self._tasks = TaskSet()

    async def start(self) -> None:
        """The first worker that is started takes the counters from then on."""
        await self._worker.start()
        await self._link.start()

    async def warm(self) -> None:
        """Have all shared responses stored."""
        await asyncio.gather(*(self._worker.request("GET", path) for path in shared_paths()))
        async for name in self._link.client.scan_iter(f"{self._link.prefix}:{{*}}:e:*", count=1_000):
            _, service, _, key = name.decode().split(":", 3)
            entry = (await self._store.get(service.strip("{}"), key)).entry
            if entry is not None:
                for tag in entry.tags:
                    self._entries[service.strip("{}"), tag].append((key, entry))

    async def share(self, writes: float, events: float) -> None:
        """Begin to write and to publish, so many times a second."""
        self._tasks.create(self._write(writes))
        self._tasks.create(self._publish(events))

    async def close(self) -> None:
        await self._tasks.cancel_and_wait()
        await self._worker.close()
        await self._link.close()

    async def _write(self, rate: float) -> None:
        paths = shared_paths()
        async for number in paced(rate):
            # 7 has no factor in common with the number of paths
            await self._worker.request("PUT", paths[7 * number % len(paths)])

    async def _publish(self, rate: float) -> None:
        async for _ in paced(rate):
            await self._worker.publish()

    def _on_notice(self, message: bytes) -> None:
        notice = _notice.decode(message)
        for key, entry in self._entries.get((notice.service, notice.tag), ()):
            self._tasks.create(self._store_again(notice.service, key, entry))

    async def _store_again(self, service: str, key: str, entry: Entry) -> None:
        while True:
            with suppress(StoreUnavailable):
                fence = (await self._store.get(service, key)).seq
                await self._store.put(service, key, entry, fence)
                return
            await asyncio.sleep(PROBE_SECONDS)


async def paced(rate: float) -> AsyncIterator[int]:
    """Numbers from 0, so many a second. Those that are late are made up for."""
    if not rate:
        return
    began = time.monotonic()
    for number in count():
        await asyncio.sleep(began + (number + 1) / rate - time.monotonic())
        yield number
