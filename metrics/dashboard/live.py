"""Live data of the dashboard: one update per second for all connected staff."""

import asyncio
import logging
import time
from typing import Any, Final

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.core.cache import cache

from metrics import selectors
from metrics.dashboard import feed
from metrics.dashboard.staff import CLOSE_FORBIDDEN, CLOSE_SESSION_ENDED, RECHECK_SECONDS, session_exists
from metrics.incidents.overview import incidents
from metrics.runtime_access import running
from routing.realtime.handshake import same_origin
from routing.rights import Names, Right, is_any, services_async, within

log = logging.getLogger(__name__)

CHANNEL_GROUP: Final = "dashboard"
BROADCAST_SECONDS: Final = 1.0
CURSOR: Final = "dashboard:cursor"
"""The cache key of the name of the service whose row was sent last."""


def snapshot(names: Names = None) -> bytes:
    """The data that the pages show, as JSON: the summary, incidents and every service, of these services. Blocks."""
    everything = selectors.read_recent()
    recent, found = everything.of(names), [each for each in incidents(everything) if within(each.service, names)]
    return feed.complete(selectors.summary(recent), selectors.service_statuses(recent), found, _version())


def update() -> bytes:
    """The same with as many services as there is room for, which take turns. Blocks."""
    recent = selectors.read_recent()
    after = str(cache.get(CURSOR) or "")
    services = feed.ServiceStatuses(selectors.service_names(), selectors.status_reader(recent))
    message = feed.update(selectors.summary(recent), services, incidents(recent), _version(), after)
    if message.last != after:
        cache.set(CURSOR, message.last, timeout=60)
    return message.text


def _version() -> int:
    """The configuration's version. A page that sees another one reads everything again."""
    return running().reloader.status.version or 0


class SnapshotBroadcaster:
    """Sends an update to the channel group each second while this process has subscribers.

    The first worker to claim a second sends it, so that one update serves the cluster, and another worker takes over
    when one stops.
    """

    def __init__(self) -> None:
        self._subscribers: set[object] = set()
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, subscriber: object) -> None:
        self._subscribers.add(subscriber)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def unsubscribe(self, subscriber: object) -> None:
        self._subscribers.discard(subscriber)
        if not self._subscribers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BROADCAST_SECONDS - time.time() % BROADCAST_SECONDS)
            try:
                await self._broadcast(int(time.time() / BROADCAST_SECONDS))
            except Exception:
                log.exception("failed to send an update of the dashboard; will retry in a second")

    async def _broadcast(self, second: int) -> None:
        text = await _in_a_thread(_claim)(second)
        layer = get_channel_layer()
        if text is not None and layer is not None:
            await layer.group_send(CHANNEL_GROUP, {"type": "snapshot", "text": text, "second": second})


class LimitedSnapshots:
    """Snapshots of some services, of the second of the last update: one for all sockets that show the same services."""

    def __init__(self) -> None:
        self._second = 0
        self._texts: dict[frozenset[str], str] = {}

    def read(self, names: frozenset[str], second: int) -> str:
        """The snapshot for these services, made at most once in `second`. Blocks."""
        if second != self._second:
            self._second, self._texts = second, {}
        texts = self._texts
        if names not in texts:
            texts[names] = snapshot(names).decode()
        return texts[names]


def _claim(second: int) -> str | None:
    """An update if this worker is the first to claim `second`, else None."""
    return update().decode() if cache.add(f"dashboard:{second}", True, timeout=10) else None


_in_a_thread: Final = database_sync_to_async
_broadcaster: Final = SnapshotBroadcaster()
_limited: Final = LimitedSnapshots()


class DashboardConsumer(AsyncWebsocketConsumer):
    """`/ws/dashboard/`: for staff who may view the gateway or some of its services, from its own origin.

    Ignores what the client sends.
    """

    async def connect(self) -> None:
        is_own = same_origin(list(self.scope["headers"]))
        self._names = await services_async(self.scope.get("user"), Right.VIEW)
        if not is_own or not is_any(self._names):
            await self.close(CLOSE_FORBIDDEN)
            return
        self._checked = time.monotonic()
        await self.channel_layer.group_add(CHANNEL_GROUP, self.channel_name)
        await self.accept()
        await self.send(text_data=(await _in_a_thread(snapshot)(self._names)).decode())
        _broadcaster.subscribe(self)

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the base class's signature
        _broadcaster.unsubscribe(self)
        await self.channel_layer.group_discard(CHANNEL_GROUP, self.channel_name)

    async def snapshot(self, message: dict[str, Any]) -> None:
        """Forward a snapshot from the channel group, or send one of the services that the user may still view."""
        if time.monotonic() - self._checked > RECHECK_SECONDS:
            self._checked = time.monotonic()
            self._names = await services_async(await get_user(self.scope), Right.VIEW)
            if not is_any(self._names) or not await session_exists(self.scope):
                await self.close(CLOSE_SESSION_ENDED)
                return
        if self._names is None:
            text = message["text"]
        else:
            text = await _in_a_thread(_limited.read)(self._names, message["second"])
        await self.send(text_data=text)
