"""Background tasks, each referenced until it ends: the event loop itself keeps only weak references."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

RECANCEL_SECONDS: Final = 0.1
"""How long a cancelled task may take to end before it is cancelled again."""

T = TypeVar("T")


class TaskSet:
    """Tasks that run in the background of one owner. It retrieves no results: asyncio logs what a task raises."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def create(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start `work` on the running loop."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def discard(self, task: asyncio.Task[Any] | None) -> None:
        """Drop the reference to a task that is about to end, before its callbacks run."""
        self._tasks.discard(task)

    async def wait(self) -> None:
        """Wait until every task has ended, including those created meanwhile. Cancels none."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def wait_at_most(self, seconds: float) -> None:
        """The same, but no longer than so many seconds. Cancels none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.wait()

    async def cancel_and_wait(self) -> None:
        """Cancel every task, and wait until all have ended."""
        await cancel_and_wait(*self._tasks)


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks until all have ended. Once may not be enough: a library may take a cancellation for that of its
    own time-out, and continue. What a task raised is left to asyncio to log.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=RECANCEL_SECONDS)
