"""Look-ups in Redis that come while others are out: asked for together, since a round trip costs the same for many."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from typing import Any, Final

from resilience.cache.store import Found

TOGETHER: Final = 32
"""Keys in one round trip: should each hold the largest body there may be, the rest still wait for less than a call may
take."""
AT_A_TIME: Final = 2
"""Round trips under way at once; one that brings large bodies does not hold up the others."""

Ask = Callable[[Sequence[str]], Awaitable[list[Found]]]


class Lookups:
    """One service's. `ask` finds several keys, in their order, or raises what each of those who wait is to see."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: dict[str, list[asyncio.Future[Found]]] = {}
        self._asking: set[asyncio.Task[Any]] = set()

    async def of(self, key: str) -> Found:
        waiter: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(waiter)
        if len(self._asking) < AT_A_TIME:
            task = asyncio.create_task(self._until_none_wait())
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        return await waiter

    async def _until_none_wait(self) -> None:
        """Each question takes along whoever waits by then: what it finds is never older than the wish for it."""
        while self._waiting:
            keys = list(self._waiting)[:TOGETHER]
            batch = [self._waiting.pop(key) for key in keys]
            try:
                found = await self._ask(keys)
            except Exception as error:  # noqa: BLE001 - theirs who wait
                _fail(batch, error)
            except BaseException:
                _fail(batch, asyncio.CancelledError())
                raise
            else:
                _tell(batch, found)


def _tell(batch: list[list[asyncio.Future[Found]]], found: list[Found]) -> None:
    for waiters, one in zip(batch, found, strict=True):
        for waiter in waiters:
            if not waiter.done():  # whoever waited may have gone
                waiter.set_result(one)


def _fail(batch: list[list[asyncio.Future[Found]]], error: BaseException) -> None:
    for waiter in chain.from_iterable(batch):
        if not waiter.done():
            waiter.set_exception(error)
