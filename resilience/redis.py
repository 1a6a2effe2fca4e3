"""One worker's way to Redis: a pool, a time limit on every call, a memory of Redis being away, and a feed of messages.

The three packages' stores share it, so that one of them finding Redis away spares the others the wait.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from resilience.outage import StoreUnavailable
from resilience.task_set import cancel_and_wait

log = logging.getLogger(__name__)

CALL_SECONDS: Final = 0.5
"""Longest a request waits for Redis before it goes on without."""
PROBE_SECONDS: Final = 0.5
"""How often an absent Redis is tried again, behind the requests' backs."""
HEARTBEAT_SECONDS: Final = 1.0
"""A quiet feed is pinged this often; two silent beats, and it is taken for cut."""
COMPLAINT_SECONDS: Final = 60.0
"""A full Redis refuses every request; it is logged this often."""
POOL_SIZE: Final = 64
SPARE_CONNECTIONS: Final = 4
"""For the feed, the probe, and whoever speaks to the client directly."""

Client = Redis | RedisCluster
MessageListener = Callable[[bytes], None]
Callback = Callable[[], None]
Answer = TypeVar("Answer")


def connect(url: str) -> Client:
    """A client for `redis://`, `rediss://`, `unix://`, `redis+sentinel://host:port,host:port/master` or `redis+cluster://`."""
    parts = urlsplit(url)
    limits: dict[str, Any] = {"socket_connect_timeout": CALL_SECONDS, "socket_timeout": CALL_SECONDS}
    if parts.scheme == "redis+cluster":
        return RedisCluster.from_url(url.replace("redis+cluster", "redis", 1), **limits)
    # A server that restarted left every pooled connection dead: each is made anew once, without a pause.
    limits["retry"] = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    if parts.scheme == "redis+sentinel":
        hosts = [_host_and_port(host) for host in parts.netloc.rpartition("@")[2].split(",")]
        sentinel = Sentinel(hosts, sentinel_kwargs=limits, password=parts.password)  # type: ignore[no-untyped-call]
        master: Redis = sentinel.master_for(parts.path.strip("/") or "mymaster", max_connections=POOL_SIZE, **limits)
        return master
    pool = BlockingConnectionPool.from_url(url, max_connections=POOL_SIZE, timeout=CALL_SECONDS, **limits)
    return Redis.from_pool(pool)


def _host_and_port(host: str) -> tuple[str, int]:
    name, _, port = host.partition(":")
    return name, int(port or 26_379)


class Script:
    """A Lua script: sent by its digest, and in full to a server that does not have it yet."""

    __slots__ = ("_digest", "_source")

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, client: Any, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await client.evalsha(self._digest, len(keys), *keys, *arguments)
        except NoScriptError:
            return await client.eval(self._source, len(keys), *keys, *arguments)


class RedisLink:
    """Calls fail with StoreUnavailable: after CALL_SECONDS the first time, at once while Redis is known to be away."""

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        self.feed = Feed(self.client)
        self._probe: asyncio.Task[None] | None = None
        # Who waits for a connection waits here: a pool run dry would look like Redis being away.
        self._places = asyncio.Semaphore(POOL_SIZE - SPARE_CONNECTIONS)
        self._quiet_until = 0.0
        self._closing = False

    @property
    def unavailable(self) -> bool:
        return self._probe is not None

    async def start(self) -> None:
        """Find out whether Redis is there, and begin listening. Registers nothing: listeners come before this."""
        with contextlib.suppress(StoreUnavailable):
            await self.call(lambda client: client.ping())
        self.feed.start()

    async def close(self) -> None:
        """Once the calls under way have ended: one that lost its connection would open another, which nobody closes."""
        if self._closing:
            return
        self._closing = True
        await self.feed.close()
        if self._probe:
            await cancel_and_wait(self._probe)
        for _ in range(POOL_SIZE - SPARE_CONNECTIONS):
            await self._places.acquire()
        await self.client.aclose()

    async def call(self, command: Callable[[Any], Awaitable[Answer]]) -> Answer:
        """Run `command` on the client. Raises StoreUnavailable when Redis is away, slow, full or refuses."""
        self._check()
        try:
            async with self._places:
                self._check()
                return await command(self.client)
        except ResponseError as refusal:  # full, read-only, loading: it is there, and says no
            self._complain(refusal)
            raise StoreUnavailable(str(refusal)) from refusal
        except (RedisError, OSError) as error:
            self._went_away(error)
            raise StoreUnavailable(type(error).__name__) from error

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Coroutine[Any, Any, Any]:
        """Run a Lua script, as `call` does; in a Redis Cluster all `keys` must be in one slot."""
        return self.call(partial(script, keys=keys, arguments=arguments))

    async def publish(self, channel: str, message: bytes) -> None:
        await self.call(lambda client: client.publish(channel, message))

    def _check(self) -> None:
        if self.unavailable or self._closing:
            raise StoreUnavailable("Redis is away" if self.unavailable else "the link to Redis is closed")

    def _complain(self, refusal: ResponseError) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._quiet_until:
            self._quiet_until = now + COMPLAINT_SECONDS
            log.warning("Redis refused a command: %s", refusal)

    def _went_away(self, error: Exception) -> None:
        if self._probe is None:
            log.warning("Redis is away (%s); each worker decides alone until it is back", type(error).__name__)
            self._probe = asyncio.create_task(self._until_back())

    async def _until_back(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            with contextlib.suppress(RedisError, OSError):
                await self.client.ping()
                break
        log.warning("Redis is back")
        self._probe = None


class Feed:
    """Messages from Redis while the link holds; `up` and `down` tell listeners when silence may be trusted."""

    def __init__(self, client: Client) -> None:
        self.alive = False
        self._client = client
        self._listeners: dict[bytes, MessageListener] = {}
        self._callbacks: list[tuple[Callback, Callback]] = []
        self._task: asyncio.Task[None] | None = None

    def listen(self, channel: str, listener: MessageListener) -> None:
        """Call `listener` with each message on `channel`. Before `start` only."""
        self._listeners[channel.encode()] = listener

    def subscribe(self, *, on_up: Callback, on_down: Callback) -> None:
        """Call `up` each time the subscription stands, and `down` each time it falls."""
        self._callbacks.append((on_up, on_down))

    def start(self) -> None:
        if self._listeners:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            try:
                async with self._client.pubsub() as pubsub:
                    await pubsub.subscribe(*self._listeners)
                    await self._listen(pubsub)
            except (RedisError, OSError, TimeoutError) as error:
                log.info("the feed from Redis is cut (%s)", type(error).__name__)
            finally:
                self._fall()
            await asyncio.sleep(PROBE_SECONDS)

    async def _listen(self, pubsub: PubSub) -> None:
        confirmed = silent = 0
        while silent < 2:
            message = await pubsub.get_message(timeout=HEARTBEAT_SECONDS)
            if message is None:
                silent += 1
                await pubsub.ping()
                continue
            silent = 0
            if message["type"] == "message":
                self._deliver(message["channel"], message["data"])
            elif message["type"] == "subscribe":
                self._fall()  # if it stood: the client reconnected by itself, and what was said meanwhile is lost
                confirmed += 1
                if confirmed % len(self._listeners) == 0:
                    self._rise()

    def _deliver(self, channel: bytes, data: bytes) -> None:
        try:
            self._listeners[channel](data)
        except Exception:  # a message nobody understands must not end the feed
            log.exception("a message on %s was not understood", channel.decode())

    def _rise(self) -> None:
        self.alive = True
        for on_up, _ in self._callbacks:
            on_up()

    def _fall(self) -> None:
        if self.alive:
            self.alive = False
            for _, on_down in self._callbacks:
                on_down()
