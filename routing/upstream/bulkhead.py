"""A limit on concurrent calls to one service, so that a backend that hangs does not affect the others."""

import asyncio
from collections import deque
from collections.abc import Awaitable
from math import inf
from typing import Final, Protocol, TypeVar

from routing.errors import Overloaded

QUEUE_SHARE: Final = 4
"""One call may queue for this many in flight (at least one does)."""
QUEUE_SECONDS: Final = 1.0
"""Longest wait in the queue: a longer one would only move the time-out to the client."""


T = TypeVar("T")


class Upload(Protocol):
    """A body on its way to a backend."""

    @property
    def rate(self) -> float:
        """Bytes a second; infinite for one that is not slow."""

    def interrupt(self) -> None:
        """End the call."""


class Bulkhead:
    """Per service and worker. `try_enter` or `enter` before a call, `leave` after it, whatever its outcome."""

    def __init__(self, service: str, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._service = service
        self._queue: deque[asyncio.Future[None]] = deque()
        self._uploads: set[Upload] = set()

    def try_enter(self) -> bool:
        """Take a slot, if one is free."""
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        return True

    async def enter(self) -> None:
        """Take a slot, or wait for one. Raises Overloaded when the queue is full or too slow."""
        if self.try_enter():
            return
        if len(self._queue) > self.limit // QUEUE_SHARE:
            raise self._overloaded()
        self._interrupt_slowest()
        slot: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(slot)
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await slot
        except TimeoutError:
            if slot.cancelled():
                raise self._overloaded() from None
        except asyncio.CancelledError:
            if not slot.cancelled():
                self.leave()
            raise
        finally:
            if slot in self._queue:
                self._queue.remove(slot)

    async def with_upload(self, upload: Upload, call: Awaitable[T]) -> T:
        """The result of `call`, which has a slot. It may be interrupted for a call that waits for one."""
        self._uploads.add(upload)
        try:
            return await call
        finally:
            self._uploads.discard(upload)

    def leave(self) -> None:
        """Release the slot, to the call that has waited longest if there is one."""
        while self._queue and self.in_flight <= self.limit:
            slot = self._queue.popleft()
            if not slot.done():
                slot.set_result(None)
                return
        self.in_flight -= 1

    def _interrupt_slowest(self) -> None:
        """Interrupt the slowest of the uploads that wait for their clients. Each waiting call interrupts another."""
        slowest = min(self._uploads, key=lambda upload: upload.rate, default=None)
        if slowest is not None and slowest.rate < inf:
            self._uploads.remove(slowest)
            slowest.interrupt()

    def _overloaded(self) -> Overloaded:
        detail = f"{self.limit} calls are in flight and the queue is full"
        return Overloaded(detail, service=self._service, retry_after=QUEUE_SECONDS)
