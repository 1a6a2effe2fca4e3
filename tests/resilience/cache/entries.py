"""Entries for tests, and waiting for what another process does."""

import asyncio
from collections.abc import Awaitable, Callable

from resilience.cache.entry import Entry

PATIENCE: float = 20.0
"""Seconds after which a test gives up on something that should have happened long ago."""


class Clock:
    """Time that passes when told to."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def make(body: bytes = b"body", *tags: str, ttl: float = 300.0, now: float = 1_000.0) -> Entry:
    return Entry(
        status=200,
        headers=((b"content-type", b"text/plain"),),
        body=body,
        stored_at=now,
        generated_at=now,
        fresh_until=now + ttl,
        stale_until=now + ttl,
        tags=tags,
    )


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Returns as soon as it holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.005)
