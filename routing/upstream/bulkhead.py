"""A bound on the calls in flight to one service, so that one backend that hangs leaves the others unharmed."""

import asyncio
from collections import deque
from typing import Final

from routing.errors import Overloaded

QUEUE_SHARE: Final = 4
"""One caller may queue for this many calls in flight (at least one does)."""
QUEUE_SECONDS: Final = 1.0
"""Longest wait in the queue: a longer one would only move the timeout to the client."""


class Bulkhead:
    """Per service and worker. `enter_now` or `enter` before a call, `leave` after it, whatever became of it."""

    def __init__(self, service: str, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._service = service
        self._queue: deque[asyncio.Future[None]] = deque()

    def try_enter(self) -> bool:
        """Take a place, if one is free."""
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        return True

    async def enter(self) -> None:
        """Take a place, or wait for one. Raises Overloaded when the queue is full or too slow."""
        if self.try_enter():
            return
        if len(self._queue) > self.limit // QUEUE_SHARE:
            raise self._overloaded()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            async with asyncio.timeout(QUEUE_SECONDS):
                await place
        except TimeoutError:
            if place.cancelled():
                raise self._overloaded() from None
        except asyncio.CancelledError:
            if not place.cancelled():
                self.leave()
            raise
        finally:
            if place in self._queue:
                self._queue.remove(place)

    def leave(self) -> None:
        """Give the place to the longest waiting, if any."""
        while self._queue and self.in_flight <= self.limit:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.in_flight -= 1

    def _overloaded(self) -> Overloaded:
        detail = f"{self.limit} calls are in flight and the queue is full"
        return Overloaded(detail, service=self._service, retry_after=QUEUE_SECONDS)
