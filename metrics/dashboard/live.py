"""The dashboard's live feed: one snapshot of everything per second, to each member of staff who watches."""

import asyncio
import logging
import time
from typing import Any, Final

import msgspec
from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.core.cache import cache

from metrics import selectors
from routing.realtime.handshake import same_origin

log = logging.getLogger(__name__)

GROUP: Final = "dashboard"
SECONDS: Final = 1.0
"""How often the feed speaks."""
RECHECK_SECONDS: Final = 10.0
"""How long somebody who logged out elsewhere, or lost the right, goes on seeing it."""
FORBIDDEN: Final = 4403
GONE: Final = 4401


def snapshot() -> bytes:
    """What the page shows, as JSON: the summary and every service. Blocking."""
    return msgspec.json.encode({"summary": selectors.summary(), "services": selectors.service_statuses()})


class SnapshotBroadcaster:
    """While anybody watches in this process, takes part in telling everybody once a second.

    Each second belongs to whichever worker claims it first, so that one snapshot serves the cluster and no worker's
    end silences it.
    """

    def __init__(self) -> None:
        self._watchers: set[object] = set()
        self._task: asyncio.Task[None] | None = None

    def join(self, watcher: object) -> None:
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def leave(self, watcher: object) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS - time.time() % SECONDS)
            try:
                await self._tick(int(time.time() / SECONDS))
            except Exception:
                log.exception("the dashboard's feed misses a second")

    async def _tick(self, second: int) -> None:
        said = await _in_a_thread(_claimed)(second)
        layer = get_channel_layer()
        if said is not None and layer is not None:
            await layer.group_send(GROUP, {"type": "snapshot", "text": said})


def _claimed(second: int) -> str | None:
    """A snapshot, if this second is this worker's to tell."""
    return snapshot().decode() if cache.add(f"dashboard:{second}", True, timeout=10) else None


_in_a_thread: Final = database_sync_to_async
_ticker: Final = SnapshotBroadcaster()


class DashboardConsumer(AsyncWebsocketConsumer):
    """`/ws/dashboard/`: staff alone, from the gateway's own pages alone. What a client says is not listened to."""

    async def connect(self) -> None:
        if not same_origin(list(self.scope["headers"])) or not is_staff(self.scope.get("user")):
            await self.close(FORBIDDEN)
            return
        self._checked = time.monotonic()
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()
        await self.send(text_data=(await _in_a_thread(snapshot)()).decode())
        _ticker.join(self)

    async def disconnect(self, code: int) -> None:  # noqa: ARG002 - the parent's signature
        _ticker.leave(self)
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def snapshot(self, message: dict[str, Any]) -> None:
        """One second's news, if whoever watches still may."""
        if time.monotonic() - self._checked > RECHECK_SECONDS:
            self._checked = time.monotonic()
            if not is_staff(await get_user(self.scope)):
                await self.close(GONE)
                return
        await self.send(text_data=message["text"])


def is_staff(user: Any) -> bool:
    return bool(user and user.is_active and user.is_staff)
