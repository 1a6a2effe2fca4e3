"""Pub/sub messages from Redis."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from redis.asyncio.client import PubSub

from resilience.outage import StoreUnavailable, reading_shared_data
from resilience.redis_client import FAILURES, Client
from resilience.task_set import cancel_and_wait
from resilience.throttled_log import ThrottledLog

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 1.0
"""How often a quiet feed is pinged. After two pings without a reply it counts as disconnected."""
RECONNECT_SECONDS: Final = 0.5

MessageListener = Callable[[bytes], None]
Callback = Callable[[], None]


class Feed:
    """Messages of the channels under `prefix`. While it is not `alive`, messages may be lost; `subscribe` reports the
    changes.
    """

    def __init__(self, client: Client, prefix: str) -> None:
        self.alive = False
        self._client = client
        self._prefix = prefix
        self._listeners: dict[bytes, MessageListener] = {}
        self._callbacks: list[tuple[Callback, Callback]] = []
        self._task: asyncio.Task[None] | None = None
        self._must_reconnect = False
        self._is_reported = False
        """Whether it is logged that the feed is disconnected: once until it is alive again."""
        self._warn = ThrottledLog(log).warning

    def listen(self, channel: str, listener: MessageListener) -> None:
        """Call `listener` with each message on `channel`: of a feed that has been started, within HEARTBEAT_SECONDS."""
        self._listeners[f"{self._prefix}:{channel}".encode()] = listener

    def subscribe(self, *, on_up: Callback, on_down: Callback) -> None:
        """Call `on_up` whenever the subscription is established, and `on_down` whenever it is lost."""
        self._callbacks.append((on_up, on_down))

    def start(self) -> None:
        if self._listeners:
            self._task = asyncio.create_task(self._run())

    def reconnect(self) -> None:
        """Subscribe on a new connection: the server of this one may no longer get the messages."""
        self._must_reconnect = True
        self._set_down()

    async def close(self) -> None:
        if self._task:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        while True:
            try:
                async with self._client.pubsub() as pubsub:
                    self._must_reconnect = False
                    await self._listen(pubsub)
            except FAILURES as error:
                if not self._is_reported:
                    self._is_reported = True
                    log.info("the feed from Redis is disconnected (%s)", type(error).__name__)
            finally:
                self._set_down()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self, pubsub: PubSub) -> None:
        silent = 0
        while silent < 2 and not self._must_reconnect:
            if added := [channel for channel in self._listeners if channel not in pubsub.channels]:
                await pubsub.subscribe(*added)
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
                if message["data"] == len(self._listeners):  # so many are subscribed on this connection
                    self._set_up()

    def _deliver(self, channel: bytes, data: bytes) -> None:
        try:
            with reading_shared_data():
                self._listeners[channel](data)
        except StoreUnavailable:
            self._warn(f"a message on {channel.decode()} is malformed", "it is ignored")
        except Exception:  # one message must not end the feed
            log.exception("a message on %s could not be processed", channel.decode())

    def _set_up(self) -> None:
        if self._must_reconnect:
            return
        self.alive, self._is_reported = True, False
        for on_up, _ in self._callbacks:
            on_up()

    def _set_down(self) -> None:
        if self.alive:
            self.alive = False
            for _, on_down in self._callbacks:
                on_down()
