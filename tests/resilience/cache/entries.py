"""Entries for tests, a clock, and waiting for a condition."""

import asyncio
from collections.abc import Awaitable, Callable

from resilience.cache.entry import Entry

TIMEOUT: float = 20.0
"""Seconds after which a test fails that waits for a condition."""


class Clock:
    """A clock that the test sets."""

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
    """Wait until the condition is true."""
    async with asyncio.timeout(TIMEOUT):
        while True:
            value = condition()
            if await value if isinstance(value, Awaitable) else value:
                return
            await asyncio.sleep(0.005)
