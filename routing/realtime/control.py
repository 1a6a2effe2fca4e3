"""What must reach every worker's sockets at once, over the channel layer: one channel and one group for each worker.

Lost messages do no harm: within a second or two the configuration says the same.
"""

import asyncio
import contextlib
import logging
from typing import Any, Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from resilience.task_set import cancel_and_wait
from routing.realtime.service import Realtime

log = logging.getLogger(__name__)

GROUP: Final = "gateway.realtime"
REVOKED: Final = "credential.revoked"
RECONNECT_SECONDS: Final = 1.0


class Control:
    """Hears for one worker's sockets."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        """The layer finds its own way back to Redis, and is asked anew where it did not."""
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - a layer's faults are its backend's own
                log.info("the channel layer is away (%s)", type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self) -> None:
        layer = get_channel_layer()
        if layer is None:
            return
        channel = await layer.new_channel()
        await layer.group_add(GROUP, channel)
        try:
            while True:
                self._handle(await layer.receive(channel))
        finally:
            with contextlib.suppress(Exception):
                await layer.group_discard(GROUP, channel)

    def _handle(self, message: dict[str, Any]) -> None:
        if message.get("type") == REVOKED:
            self._realtime.disconnect_caller(str(message.get("caller")))


def publish_revocation(prefix: str) -> None:
    """An API key has ended: called by whoever saved that, in a thread."""
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(GROUP, {"type": REVOKED, "caller": f"key:{prefix}"})
    except Exception as error:  # noqa: BLE001 - the configuration says it too, a little later
        log.info("the channel layer is away (%s)", type(error).__name__)
