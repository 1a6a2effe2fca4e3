"""Commands to every worker's connections over the channel layer: one channel per worker, all in one group.

A lost message does no harm: within a second or two the reloaded configuration has the same effect.
"""

import asyncio
import contextlib
import logging
from typing import Any, Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer

from resilience.task_set import cancel_and_wait
from routing.caller import KEY_CALLER
from routing.realtime.service import Realtime

log = logging.getLogger(__name__)

GROUP: Final = "gateway.realtime"
REVOKED: Final = "credential.revoked"
RECONNECT_SECONDS: Final = 1.0
SEND_SECONDS: Final = 0.3
"""How long a command or a page waits for the channel layer, whose own limit is several seconds."""


class Control:
    """Receives the commands for one worker."""

    def __init__(self, realtime: Realtime) -> None:
        self._realtime = realtime
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        """The layer reconnects to Redis by itself; if it raises instead, start again."""
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - which errors a layer raises depends on its backend
                log.info("the channel layer is unavailable (%s)", type(error).__name__)
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
    """Close the connections of a revoked API key on every worker. Blocks for SEND_SECONDS at most; call it from a
    thread.
    """
    try:
        async_to_sync(_send)({"type": REVOKED, "caller": f"{KEY_CALLER}{prefix}"})
    except Exception as error:  # noqa: BLE001 - the configuration has the same effect, a little later
        log.info("the channel layer is unavailable (%s)", type(error).__name__)


async def _send(message: dict[str, Any]) -> None:
    """Raises what the layer raises, and TimeoutError."""
    layer = get_channel_layer()
    if layer is not None:
        await asyncio.wait_for(layer.group_send(GROUP, message), SEND_SECONDS)
