"""Turns of threads: one at a time, in order, given up while waiting, and never waited for without end."""

import threading
from collections.abc import Callable, Iterator

import pytest

from resilience.turn import Turn
from tests.processes import eventually

FOREVER = 60.0


@pytest.fixture
def start() -> Iterator[Callable[[Callable[[], None]], threading.Thread]]:
    threads: list[threading.Thread] = []

    def start(work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, daemon=True)
        threads.append(thread)
        thread.start()
        return thread

    yield start
    for thread in threads:
        thread.join(FOREVER)
        assert not thread.is_alive()


Start = Callable[[Callable[[], None]], threading.Thread]


def test_threads_run_one_at_a_time_in_the_order_of_arrival(start: Start) -> None:
    turn, order, running, most = Turn(FOREVER), list[int](), list[int](), list[int]()

    def work(number: int) -> None:
        with turn.taken():
            running.append(number)
            most.append(len(running))
            order.append(number)
            running.remove(number)

    with turn.taken():
        for number in range(8):
            start(lambda number=number: work(number))  # type: ignore[misc]
            assert eventually(lambda number=number: len(turn._waiting) == number + 1)  # type: ignore[misc]
    assert eventually(lambda: len(order) == 8)
    assert order == list(range(8))
    assert max(most) == 1


def test_another_thread_runs_while_the_turn_is_released(start: Start) -> None:
    turn, ran = Turn(FOREVER), threading.Event()

    def work() -> None:
        with turn.taken():
            ran.set()

    with turn.taken():
        start(work)
        with turn.released():
            assert ran.wait(FOREVER)


def test_a_thread_that_has_waited_long_runs_beside_the_holder(start: Start) -> None:
    turn, ran = Turn(max_wait=0.01), threading.Event()

    def work() -> None:
        with turn.taken():
            ran.set()

    with turn.taken():
        start(work).join(FOREVER)
        assert ran.is_set()
    with turn.taken():  # which the impatient one has not given back
        assert not turn._is_free


def test_an_exception_gives_the_turn_back() -> None:
    turn = Turn(FOREVER)
    for _ in range(2):
        with pytest.raises(KeyError), turn.taken(), turn.released():
            raise KeyError
    assert turn._is_free


def test_outside_of_a_turn_there_is_nothing_to_release() -> None:
    turn = Turn()
    with turn.released():
        assert turn._is_free
