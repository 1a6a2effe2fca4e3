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
from routing.rights import Right, may_async

log = logging.getLogger(__name__)

CHANNEL_GROUP: Final = "dashboard"
BROADCAST_SECONDS: Final = 1.0
CURSOR: Final = "dashboard:cursor"
"""The key of the cache under which the name of the service is whose row was sent last."""


def snapshot() -> bytes:
    """The data that the pages show, as JSON: the summary, incidents and every service. Blocks."""
    recent = selectors.read_recent()
    return feed.complete(selectors.summary(recent), selectors.service_statuses(recent), incidents(recent), _version())


def update() -> bytes:
    """The same with as many services as there is room for, which take turns. Blocks."""
    recent = selectors.read_recent()
    after = str(cache.get(CURSOR) or "")
    services = feed.Services(selectors.service_names(), selectors.status_reader(recent))
    message = feed.update(selectors.summary(recent), services, incidents(recent), _version(), after)
    if message.last != after:
        cache.set(CURSOR, message.last, timeout=60)
    return message.text


def _version() -> int:
    """That of the configuration. A page that sees another one reads everything again."""
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
            await layer.group_send(CHANNEL_GROUP, {"type": "snapshot", "text": text})


def _claim(second: int) -> str | None:
    """An update if this worker is the first to claim `second`, else None."""
    return update().decode() if cache.add(f"dashboard:{second}", True, timeout=10) else None


_in_a_thread: Final = database_sync_to_async
_broadcaster: Final = SnapshotBroadcaster()


class DashboardConsumer(AsyncWebsocketConsumer):
    """`/ws/dashboard/`: for staff who may view the gateway, from its own origin. Ignores what the client sends."""

    async def connect(self) -> None:
        is_own = same_origin(list(self.scope["headers"]))
        if not is_own or not await may_async(self.scope.get("user"), Right.VIEW):
            await self.close(CLOSE_FORBIDDEN)
            return
        self._checked = time.monotonic()
        await self.channel_layer.group_add(CHANNEL_GROUP, self.channel_name)
        await self.accept()
        await self.send(text_data=(await _in_a_thread(snapshot)()).decode())
        _broadcaster.subscribe(self)

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the base class's signature
        _broadcaster.unsubscribe(self)
        await self.channel_layer.group_discard(CHANNEL_GROUP, self.channel_name)

    async def snapshot(self, message: dict[str, Any]) -> None:
        """Forward a snapshot from the channel group, if the user may still view the gateway."""
        if time.monotonic() - self._checked > RECHECK_SECONDS:
            self._checked = time.monotonic()
            may_view = await may_async(await get_user(self.scope), Right.VIEW)
            if not may_view or not await session_exists(self.scope):
                await self.close(CLOSE_SESSION_ENDED)
                return
        await self.send(text_data=message["text"])
