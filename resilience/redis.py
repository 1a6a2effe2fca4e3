"""One worker's link to Redis: a connection pool, a time-out on every call, an outage flag, and a feed of messages.

All stores share it, so that after one has found Redis unavailable, the others do not wait for a time-out.
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
"""How long a call may take."""
PROBE_SECONDS: Final = 0.5
"""How often an unavailable Redis is probed."""
HEARTBEAT_SECONDS: Final = 1.0
"""How often a quiet feed is pinged. After two pings without a reply it counts as disconnected."""
REFUSAL_LOG_SECONDS: Final = 60.0
"""How often refused commands are logged: a Redis that is out of memory refuses each one."""
POOL_SIZE: Final = 64
SPARE_CONNECTIONS: Final = 4
"""Connections of the pool reserved for the feed, the probe, and users of `RedisLink.client`."""

Client = Redis | RedisCluster
MessageListener = Callable[[bytes], None]
Callback = Callable[[], None]
T = TypeVar("T")


def connect(url: str) -> Client:
    """A client for a URL: `redis://`, `rediss://`, `unix://`, `redis+cluster://`, or
    `redis+sentinel://host:port,host:port/master`.
    """
    parts = urlsplit(url)
    limits: dict[str, Any] = {"socket_connect_timeout": CALL_SECONDS, "socket_timeout": CALL_SECONDS}
    if parts.scheme == "redis+cluster":
        return RedisCluster.from_url(url.replace("redis+cluster", "redis", 1), **limits)
    # After a restart of the server every pooled connection is dead: reconnect once, without a pause.
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
    """The link that all stores of this worker share.

    A call fails with StoreUnavailable: within CALL_SECONDS when the outage begins, at once from then on, until a probe
    succeeds.
    """

    def __init__(self, url: str) -> None:
        self.client = connect(url)
        self.feed = Feed(self.client)
        self._probe: asyncio.Task[None] | None = None
        # Calls wait here for a connection: a time-out in an exhausted pool would look like an outage.
        self._slots = asyncio.Semaphore(POOL_SIZE - SPARE_CONNECTIONS)
        self._next_refusal_log = 0.0
        self._closing = False

    @property
    def unavailable(self) -> bool:
        return self._probe is not None

    async def start(self) -> None:
        """Check whether Redis is available, and start the feed. Its listeners must be registered before."""
        with contextlib.suppress(StoreUnavailable):
            await self.call(lambda client: client.ping())
        self.feed.start()

    async def close(self) -> None:
        """Close the client once the calls in progress have ended: one that reconnects would leak its connection."""
        if self._closing:
            return
        self._closing = True
        await self.feed.close()
        if self._probe:
            await cancel_and_wait(self._probe)
        for _ in range(POOL_SIZE - SPARE_CONNECTIONS):
            await self._slots.acquire()
        await self.client.aclose()

    async def call(self, command: Callable[[Any], Awaitable[T]]) -> T:
        """Run `command` with the client. Raises StoreUnavailable if Redis is unreachable, slow or refuses it."""
        self._check()
        try:
            async with self._slots:
                self._check()
                return await command(self.client)
        except ResponseError as refusal:  # out of memory, read-only or loading, but reachable
            self._log_refusal(refusal)
            raise StoreUnavailable(str(refusal)) from refusal
        except (RedisError, OSError) as error:
            self._begin_outage(error)
            raise StoreUnavailable(type(error).__name__) from error

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Any] = ()) -> Coroutine[Any, Any, Any]:
        """Like `call`, for a Lua script. In a Redis Cluster, all `keys` must be in one slot."""
        return self.call(partial(script, keys=keys, arguments=arguments))

    async def publish(self, channel: str, message: bytes) -> None:
        await self.call(lambda client: client.publish(channel, message))

    def _check(self) -> None:
        if self.unavailable or self._closing:
            raise StoreUnavailable("Redis is unavailable" if self.unavailable else "the link to Redis is closed")

    def _log_refusal(self, refusal: ResponseError) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._next_refusal_log:
            self._next_refusal_log = now + REFUSAL_LOG_SECONDS
            log.warning("Redis refused a command: %s", refusal)

    def _begin_outage(self, error: Exception) -> None:
        if self._probe is None:
            log.warning(
                "Redis is unavailable (%s); each worker uses its own state until it is back", type(error).__name__
            )
            self._probe = asyncio.create_task(self._probe_until_back())

    async def _probe_until_back(self) -> None:
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            with contextlib.suppress(RedisError, OSError):
                await self.client.ping()
                break
        log.warning("Redis is available again")
        self._probe = None


class Feed:
    """Pub/sub messages from Redis. While it is not `alive`, messages may be lost; `subscribe` reports the changes."""

    def __init__(self, client: Client) -> None:
        self.alive = False
        self._client = client
        self._listeners: dict[bytes, MessageListener] = {}
        self._callbacks: list[tuple[Callback, Callback]] = []
        self._task: asyncio.Task[None] | None = None

    def listen(self, channel: str, listener: MessageListener) -> None:
        """Call `listener` with each message on `channel`. Must precede `start`."""
        self._listeners[channel.encode()] = listener

    def subscribe(self, *, on_up: Callback, on_down: Callback) -> None:
        """Call `on_up` whenever the subscription is established, and `on_down` whenever it is lost."""
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
                log.info("the feed from Redis is disconnected (%s)", type(error).__name__)
            finally:
                self._set_down()
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
                self._set_down()  # if alive, the client has reconnected, and messages may have been lost
                confirmed += 1
                if confirmed % len(self._listeners) == 0:
                    self._set_up()

    def _deliver(self, channel: bytes, data: bytes) -> None:
        try:
            self._listeners[channel](data)
        except Exception:  # one malformed message must not end the feed
            log.exception("a message on %s could not be processed", channel.decode())

    def _set_up(self) -> None:
        self.alive = True
        for on_up, _ in self._callbacks:
            on_up()

    def _set_down(self) -> None:
        if self.alive:
            self.alive = False
            for _, on_down in self._callbacks:
                on_down()
