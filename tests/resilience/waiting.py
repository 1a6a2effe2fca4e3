"""Waiting for a condition with a time-out, so that a hung test fails instead of blocking the run."""

import asyncio
from collections.abc import Callable

BOUND_SECONDS = 20.0


async def until(condition: Callable[[], bool], seconds: float = BOUND_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)


class FakeClock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
