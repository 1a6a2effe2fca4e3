"""Flow control of one connection in both directions, as asyncio.streams.FlowControlMixin does it for writing."""

import asyncio


class FlowControl(asyncio.Protocol):
    """Tracks whether reading from and writing to `transport` are paused."""

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._read_paused = False
        self._write_paused = False
        self._drain_waiter: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._wake_drain()

    async def drain(self) -> None:
        """Wait until the transport's write buffer is below its low-water mark, or the connection closes."""
        while self._write_paused and not self.transport.is_closing():
            self._drain_waiter = self.loop.create_future()
            await self._drain_waiter

    def _wake_drain(self) -> bool:
        """End the pause of writing; whether `drain` was waiting for it."""
        self._write_paused = False
        waiter, self._drain_waiter = self._drain_waiter, None
        if waiter is None or waiter.done():
            return False
        waiter.set_result(None)
        return True

    def _pause_reading(self) -> None:
        if not self._read_paused and not self.transport.is_closing():
            self._read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()
