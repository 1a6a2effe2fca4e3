"""Background tasks: referenced until they end, waited for, and cancelled until they have ended."""

import asyncio
import gc
import logging
import weakref

import pytest

from resilience.task_set import TaskSet, cancel_and_wait


def _resolve(reference: "weakref.ref[asyncio.Future[None]]") -> None:
    waiter = reference()
    assert waiter is not None, "the task was collected"
    waiter.set_result(None)


async def test_a_task_that_nobody_else_references_runs_to_its_end() -> None:
    tasks, done = TaskSet(), list[str]()

    async def work() -> None:
        waiter = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.01, _resolve, weakref.ref(waiter))
        await waiter
        done.append("done")

    tasks.create(work())
    await asyncio.sleep(0)
    gc.collect()
    await tasks.wait()
    assert done == ["done"]


async def test_it_forgets_a_task_that_has_ended() -> None:
    tasks = TaskSet()
    task = tasks.create(asyncio.sleep(0, "result"))
    assert len(tasks) == 1
    assert await task == "result"
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_a_task_that_is_about_to_end_can_be_discarded_early() -> None:
    tasks, counted = TaskSet(), list[int]()

    async def work() -> None:
        tasks.discard(asyncio.current_task())
        counted.append(len(tasks))

    await tasks.create(work())
    assert counted == [0]


async def test_waiting_includes_the_tasks_created_meanwhile() -> None:
    tasks, done = TaskSet(), list[str]()

    async def first() -> None:
        await asyncio.sleep(0.01)
        tasks.create(second())

    async def second() -> None:
        await asyncio.sleep(0.01)
        done.append("second")

    tasks.create(first())
    await tasks.wait()
    assert done == ["second"]


async def test_a_time_limit_on_the_wait_cancels_no_task() -> None:
    tasks = TaskSet()
    task = tasks.create(asyncio.sleep(60))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await tasks.wait()
    assert not task.done()
    assert not task.cancelling()
    await tasks.cancel_and_wait()
    assert task.cancelled()


async def test_cancelling_repeats_until_a_task_that_swallows_it_has_ended() -> None:
    tasks, swallowed = TaskSet(), list[int]()

    async def stubborn() -> None:
        while len(swallowed) < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed.append(1)
        await asyncio.sleep(60)

    task = tasks.create(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await tasks.cancel_and_wait()
    assert task.cancelled()
    assert len(swallowed) == 2


async def test_cancelling_nothing_returns_at_once() -> None:
    await TaskSet().cancel_and_wait()
    await cancel_and_wait()


async def test_an_error_of_a_cancelled_task_is_not_raised_but_left_to_asyncio(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("not raised to the caller")

    tasks = TaskSet()
    tasks.create(fail())
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR, "asyncio"):
        await tasks.cancel_and_wait()
        gc.collect()
        await asyncio.sleep(0)
    assert "Task exception was never retrieved" in caplog.text
