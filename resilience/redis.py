"""One worker's link to Redis: a connection pool, a time-out on every call, an outage flag, a clock, and a feed.

All stores share it, so that after one has found Redis unavailable, the others do not wait for a time-out.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from redis.exceptions import ClusterError, NoScriptError, ReadOnlyError, ResponseError

from resilience.outage import StoreUnavailable
from resilience.redis_address import parse
from resilience.redis_client import FAILURES, POOL_SIZE, close, connect, drop_idle_connections, failure_reason
from resilience.redis_feed import Feed
from resilience.task_set import cancel_and_wait
from resilience.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

CALL_SECONDS: Final = 0.5
"""How long a call may take."""
PROBE_SECONDS: Final = 0.5
"""How often an unavailable Redis is probed."""
SPARE_CONNECTIONS: Final = 4
"""Connections of the pool reserved for the feed, the probe, and users of `RedisLink.client`."""
CLOCK_SECONDS: Final = 10.0
"""How often the server's clock is read."""
CLOCK_TOLERANCE: Final = 0.25
"""Seconds by which this machine's clock may differ from the server's before it is corrected."""

T = TypeVar("T")


class Script:
    """A Lua script: sent by its `digest`, and in full to a server that does not have it yet.

    `kinds` are the types of its keys, in order; further keys are of the last one. `RedisLink.run` uses them.
    """

    __slots__ = ("_source", "digest", "kinds")

    def __init__(self, source: str, *kinds: str) -> None:
        self._source = source
        self.kinds = kinds
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await client.evalsha(self.digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await client.eval(self._source, len(keys), *keys, *arguments)


# Writes nothing, and needs no memory; a replica refuses it.
_PROBE: Final = Script("return redis.call('DEL', KEYS[1])")
_REMOVE_OTHERS: Final = Script(
    """
for i, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  if kind ~= ARGV[i] and kind ~= 'none' then redis.call('DEL', key) end
end
"""
)
_REMOVE_EQUAL: Final = Script("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end", "string")
# What all scripts need, so that rights which are missing are noticed.
_CHECK: Final = Script("redis.call('INFO', 'server') redis.call('TIME') return redis.call('DEL', KEYS[1])")
_TIME: Final = Script("redis.call('EXISTS', KEYS[1]) return redis.call('TIME')")


class RedisLink:
    """The link that all stores of this worker share.

    A call fails with StoreUnavailable: within CALL_SECONDS when the outage begins, at once from then on, until a probe
    succeeds. `prefix` is that of all keys and channels; by default one for each database.

    `clock_offset` is how many seconds the server's clock is ahead of `clock`; 0 within CLOCK_TOLERANCE.
    """

    def __init__(self, url: str, prefix: str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        address = parse(url)
        self.prefix = prefix or address.default_prefix
        self.client = connect(address, CALL_SECONDS)
        self.feed = Feed(self.client, self.prefix)
        self.clock_offset = 0.0
        self._clock = clock
        self._probe: asyncio.Task[None] | None = None
        self._clock_task: asyncio.Task[None] | None = None
        # Calls wait here for a connection: a time-out in an exhausted pool would look like an outage.
        self._slots = asyncio.Semaphore(POOL_SIZE - SPARE_CONNECTIONS)
        self.warn = ThrottledLog(log).warning
        self._closing = False
        self._on_available: list[Callable[[], None]] = []

    def on_available(self, callback: Callable[[], None]) -> None:
        """Call it when an outage has ended, and every CLOCK_SECONDS: for what Redis has missed or refused."""
        self._on_available.append(callback)

    @property
    def unavailable(self) -> bool:
        return self._probe is not None

    def key(self, name: str) -> str:
        """The key or channel of this gateway with this name."""
        return f"{self.prefix}:{name}"

    def now(self) -> float:
        """Unix seconds by the server's clock, which all workers share."""
        return self._clock() + self.clock_offset

    async def start(self) -> None:
        """Check whether Redis is available, and start the feed. Its listeners must be registered before."""
        await self._read_clock()
        self._clock_task = asyncio.create_task(self._follow_clock())
        self.feed.start()

    async def settle(self) -> None:
        """Wait out an outage that is only this process's: calls time out while it is busy starting.

        A round trip ends after those that the start has begun.
        """
        with contextlib.suppress(StoreUnavailable):
            await self.call(lambda client: client.ping())
        if self._probe is not None:
            await asyncio.wait([self._probe], timeout=2 * PROBE_SECONDS)

    async def close(self) -> None:
        """Close the client once the calls in progress have ended: one that reconnects would leak its connection."""
        if self._closing:
            return
        self._closing = True
        await self.feed.close()
        for task in (self._clock_task, self._probe):
            if task:
                await cancel_and_wait(task)
        for _ in range(POOL_SIZE - SPARE_CONNECTIONS):
            await self._slots.acquire()
        await close(self.client)

    async def call(self, command: Callable[[Any], Awaitable[T]]) -> T:
        """Run `command` with the client. Raises StoreUnavailable if Redis is unreachable, slow or refuses it."""
        self._check()
        try:
            async with self._slots:
                self._check()
                return await self._on_master(command)
        except ReadOnlyError as error:
            self._begin_outage(error)
            raise StoreUnavailable("Redis is read-only") from error
        except ResponseError as refusal:  # out of memory or loading, but reachable
            self.warn("Redis refused a command", str(refusal))
            raise StoreUnavailable(str(refusal)) from refusal
        except ClusterError as error:  # all attempts met redirections; the other slots can be reached
            self.warn("Redis refused a command", "the slot of its keys is being moved to another node")
            raise StoreUnavailable("the keys are being moved") from error
        except FAILURES as error:
            self._begin_outage(error)
            raise StoreUnavailable(type(error).__name__) from error

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Any:
        """Like `call`, for a Lua script. In a Redis Cluster, all `keys` must be in one slot.

        A key whose type is not the script's was overwritten by another program. The call then fails and the key is
        deleted, so that the next call succeeds.
        """
        try:
            return await self.call(partial(script, keys=keys, arguments=arguments))
        except StoreUnavailable as error:
            if script.kinds and "WRONGTYPE" in str(error):
                await self.remove_overwritten(keys, *script.kinds)
            raise

    async def check(self) -> None:
        """Whether scripts can be run, which a server that responds to PING may refuse. Raises StoreUnavailable."""
        await self.run(_CHECK, [self.key("probe")])

    async def remove_overwritten(self, keys: Sequence[str], *kinds: str) -> None:
        """Delete keys of other types than `kinds`, the last of which is that of all further keys."""
        expected = (kinds + kinds[-1:] * len(keys))[: len(keys)]
        await self.call(partial(_REMOVE_OTHERS, keys=keys, arguments=expected))

    async def remove_malformed(self, what: str, key: str, value: bytes) -> None:
        """Delete a string that cannot be decoded, unless it has been replaced since. Logs that `what` is malformed."""
        self.warn(f"{what} in Redis is malformed", "another program has written it; it is deleted")
        with contextlib.suppress(StoreUnavailable):
            await self.run(_REMOVE_EQUAL, [key], [value])

    async def publish(self, channel: str, message: bytes) -> None:
        await self.call(lambda client: client.publish(self.key(channel), message))

    async def _on_master(self, command: Callable[[Any], Awaitable[T]]) -> T:
        """Repeat a command that a replica refused on a new connection: after a failover the pool's connections still
        lead to the former master, and the address to the new one.
        """
        try:
            return await command(self.client)
        except ReadOnlyError:
            await self._leave_replica()
            return await command(self.client)

    async def _leave_replica(self) -> None:
        self.feed.reconnect()
        await drop_idle_connections(self.client)

    def _check(self) -> None:
        if self.unavailable or self._closing:
            raise StoreUnavailable("Redis is unavailable" if self.unavailable else "the link to Redis is closed")

    def _begin_outage(self, error: Exception) -> None:
        if self._probe is None:
            log.warning(
                "Redis is unavailable (%s); each worker uses its own state until it is back", failure_reason(error)
            )
            self._probe = asyncio.create_task(self._probe_until_back())

    async def _probe_until_back(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                await _PROBE(self.client, [self.key("probe")], ())
            except ReadOnlyError:
                await self._leave_replica()
            except ResponseError:  # reachable, as for `call`
                break
            except FAILURES:
                continue
            else:
                break
        log.warning("Redis is available again")
        self._probe = None
        self._call_back()

    def _call_back(self) -> None:
        for callback in self._on_available:
            callback()

    async def _follow_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            await self._read_clock()
            self._call_back()

    async def _read_clock(self) -> None:
        began = self._clock()
        with contextlib.suppress(StoreUnavailable):
            seconds, micros = await self.run(_TIME, [self.key("time")])
            ended = self._clock()
            offset = int(seconds) + int(micros) / 1e6 - (began + ended) / 2
            # Changed rarely and not by a little, so that times converted by it stay comparable.
            if abs(offset - self.clock_offset) > CLOCK_TOLERANCE + (ended - began) / 2:
                self.clock_offset = offset if abs(offset) > CLOCK_TOLERANCE else 0.0
                log.warning("this machine's clock differs from that of Redis by %.1f s", -offset)
