"""Combine concurrent requests to Redis into shared round trips: one round trip costs about the same for many."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import chain
from typing import Final, Generic, TypeVar

from resilience.task_set import TaskSet

BATCH_SIZE: Final = 32
"""Requests per round trip. If each brings the largest possible body, it still ends within the time limit of a call."""
CONCURRENT_BATCHES: Final = 2
"""Round trips of one group in flight, so that one with large bodies does not hold up the others."""

RequestT = TypeVar("RequestT", bound=Hashable)
ResultT = TypeVar("ResultT")


class Batcher(Generic[RequestT, ResultT]):
    """Batches requests of one kind.

    `send` returns the results of several requests of one group, in order; what it raises is raised to each caller.
    Groups are never combined: in a Redis Cluster they may be on different servers.
    """

    def __init__(self, send: Callable[[str, Sequence[RequestT]], Awaitable[Sequence[ResultT]]]) -> None:
        self._send = send
        self._groups: dict[str, _Group[RequestT, ResultT]] = {}

    async def submit(self, group: str, request: RequestT) -> ResultT:
        """The result of `request`. Equal requests in one round trip are sent once."""
        own = self._groups.get(group)
        if own is None:
            own = self._groups[group] = _Group()
        waiter: asyncio.Future[ResultT] = own.loop.create_future()
        own.waiting.setdefault(request, []).append(waiter)
        if len(own.tasks) < CONCURRENT_BATCHES:
            own.tasks.create(self._send_all(group, own))
        return await waiter

    async def _send_all(self, group: str, own: "_Group[RequestT, ResultT]") -> None:
        """Make round trips until nobody waits. Each includes only requests queued before it, so that no result is
        older than its request.
        """
        while own.waiting:
            requests = list(own.waiting)[:BATCH_SIZE]
            batch = [own.waiting.pop(request) for request in requests]
            try:
                results = await self._send(group, requests)
            except Exception as error:  # noqa: BLE001 - raised to each caller
                _fail(batch, error)
            except BaseException:
                _fail(batch, asyncio.CancelledError())
                raise
            else:
                _resolve(batch, results)
        # Before the done callbacks run: a request submitted in between would wait for a task that has ended.
        own.tasks.discard(asyncio.current_task())


class _Group(Generic[RequestT, ResultT]):
    """The requests that wait for a round trip, and the tasks that make them."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiting: dict[RequestT, list[asyncio.Future[ResultT]]] = {}
        self.tasks = TaskSet()


def _resolve(batch: list[list[asyncio.Future[ResultT]]], results: Sequence[ResultT]) -> None:
    for waiters, result in zip(batch, results, strict=True):
        for waiter in waiters:
            if not waiter.done():  # its caller may have been cancelled
                waiter.set_result(result)


def _fail(batch: list[list[asyncio.Future[ResultT]]], error: BaseException) -> None:
    for waiter in chain.from_iterable(batch):
        if not waiter.done():
            waiter.set_exception(error)
