"""A request to all workers over Redis to write what they have counted, and a short wait for them."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from resilience.outage import StoreUnavailable, reading_shared_data
from resilience.redis import RedisLink
from resilience.task_set import TaskSet

GATHER_SECONDS: Final = 0.25
"""How long a reader waits for other workers to flush. A slower worker's last second is missing from what it reads."""
FLUSH_REQUEST_SECONDS: Final = 10
GATHER_POLL_SECONDS: Final = 0.003


class FlushRequests:
    """`channel` carries the requests. A message is a key that begins with `prefix`, which each worker increments when
    it has flushed.
    """

    def __init__(self, link: RedisLink, channel: str, prefix: str) -> None:
        self._link = link
        self._channel = channel
        self._prefix = prefix
        self._flushing = TaskSet()

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        """Call `flush` whenever a worker sends a request."""

        def on_request(message: bytes) -> None:
            self._flushing.create(self._flush(message.decode(), flush))

        self._link.feed.listen(self._channel, on_request)

    async def send(self) -> None:
        """Request flushes, and wait for them for at most GATHER_SECONDS. Raises StoreUnavailable."""
        key, loop = self._link.key(self._prefix + secrets.token_hex(16)), asyncio.get_running_loop()
        channel = self._link.key(self._channel)
        workers = await self._link.call(lambda client: client.publish(channel, key))
        deadline = loop.time() + GATHER_SECONDS
        while workers and loop.time() < deadline:
            with reading_shared_data():
                if int(await self._link.call(lambda client: client.get(key)) or 0) >= workers:
                    return
            await asyncio.sleep(GATHER_POLL_SECONDS)

    async def _flush(self, key: str, flush: Callable[[], Awaitable[None]]) -> None:
        if not key.startswith(self._link.key(self._prefix)):
            return
        with contextlib.suppress(StoreUnavailable):
            await flush()
            await self._link.call(lambda client: _increment(client, key))


async def _increment(client: Any, key: str) -> None:
    await client.incr(key)
    await client.expire(key, FLUSH_REQUEST_SECONDS)
