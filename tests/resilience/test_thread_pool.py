"""Threads: as many as there is work, used again, and gone soon after."""

import threading

import pytest

from resilience import thread_pool
from resilience.thread_pool import ThreadPool
from tests.processes import eventually


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> ThreadPool:
    monkeypatch.setattr(thread_pool, "IDLE_SECONDS", 0.05)
    return ThreadPool("ours")


def threads() -> int:
    return sum(thread.name == "ours" for thread in threading.enumerate())


def test_results_and_exceptions_are_those_of_the_work(pool: ThreadPool) -> None:
    assert pool.submit(int, "7", base=8).result(30) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        pool.submit(int, "x").result(30)


def test_work_never_waits_for_a_thread_and_threads_end(pool: ThreadPool) -> None:
    together = threading.Barrier(9)
    for _ in range(20):
        waiting = [pool.submit(together.wait, 30) for _ in range(8)]
        together.wait(30)
        for future in waiting:
            future.result(30)
    assert threads() <= 16
    assert eventually(lambda: threads() == 0)
    assert pool.submit(threads).result(30) == 1


def test_work_submitted_as_threads_end_is_done(pool: ThreadPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "IDLE_SECONDS", 0.0)
    for number in range(2_000):
        assert pool.submit(int, number).result(30) == number


def test_cancelled_work_is_not_done(pool: ThreadPool) -> None:
    future = pool.submit(int)
    future.result(30)
    blocked, release = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        release.wait(30)

    running = pool.submit(block)
    assert blocked.wait(30)
    assert not running.cancel()
    release.set()
    running.result(30)
