"""Nonces that signatures have used: each is accepted once, in all workers."""

from collections.abc import Callable
from typing import Final, Protocol

from resilience.redis import RedisLink

MAX_REMEMBERED: Final = 200_000


class Nonces(Protocol):
    async def claim(self, replay_id: str, seconds: float) -> bool:
        """Whether this is the first use of a nonce, which is remembered for `seconds`. Raises StoreUnavailable."""

    async def release(self, replay_id: str) -> None:
        """Let a nonce be used again: what it was claimed for was not done. Raises StoreUnavailable."""


class MemoryNonces:
    """The nonces of a gateway of one worker. Bounded: the oldest are forgotten first. `clock` is Unix time."""

    def __init__(self, clock: Callable[[], float], limit: int = MAX_REMEMBERED) -> None:
        self._clock = clock
        self._limit = limit
        self._until: dict[str, float] = {}

    async def claim(self, replay_id: str, seconds: float) -> bool:
        now = self._clock()
        if self._until.get(replay_id, 0.0) > now:
            return False
        self._until.pop(replay_id, None)  # so that it becomes the youngest
        self._until[replay_id] = now + seconds
        self._forget(now)
        return True

    async def release(self, replay_id: str) -> None:
        self._until.pop(replay_id, None)

    def _forget(self, now: float) -> None:
        """A few that have ended, so that each call takes as long as any other."""
        for _ in range(2):
            oldest = next(iter(self._until))
            if self._until[oldest] > now and len(self._until) <= self._limit:
                return
            del self._until[oldest]
            if not self._until:
                return


class RedisNonces:
    """The nonces of all workers and machines."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def claim(self, replay_id: str, seconds: float) -> bool:
        key, milliseconds = self._link.key(f"nonce:{replay_id}"), max(1, round(seconds * 1_000))
        stored = await self._link.call(lambda client: client.set(key, b"1", px=milliseconds, nx=True))
        return bool(stored)

    async def release(self, replay_id: str) -> None:
        key = self._link.key(f"nonce:{replay_id}")
        await self._link.call(lambda client: client.delete(key))
