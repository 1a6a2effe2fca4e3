"""Which tests run beside each other."""

import threading
import uuid
from collections.abc import Iterator

import pytest

from tests.scheduling import Turns


@pytest.fixture
def run() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def turns(run: str) -> Iterator[Turns]:
    turns = Turns(run)
    yield turns
    turns.close()


class Runner:
    """Takes a turn in a thread, as another process would, until `end`."""

    def __init__(self, turns: Turns, *, alone: bool) -> None:
        self.runs, self._may_end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(turns, alone))
        self._thread.start()

    def end(self) -> None:
        self._may_end.set()
        self._thread.join(20)

    def _run(self, turns: Turns, alone: bool) -> None:
        with turns.take(alone=alone):
            self.runs.set()
            assert self._may_end.wait(20)


def test_tests_run_beside_each_other(turns: Turns) -> None:
    with turns.take(alone=False):
        other = Runner(turns, alone=False)
        assert other.runs.wait(20)
        other.end()


@pytest.mark.parametrize("alone", [True, False])
def test_nothing_runs_beside_a_test_that_runs_alone(turns: Turns, alone: bool) -> None:
    with turns.take(alone=True):
        other = Runner(turns, alone=alone)
        assert not other.runs.wait(0.1)
    assert other.runs.wait(20)
    other.end()


def test_a_test_that_runs_alone_is_not_overtaken(turns: Turns) -> None:
    with turns.take(alone=False):
        alone = Runner(turns, alone=True)
        assert not alone.runs.wait(0.1)
        later = Runner(turns, alone=False)
        assert not later.runs.wait(0.1)
    assert alone.runs.wait(20)
    assert not later.runs.wait(0.1)
    alone.end()
    assert later.runs.wait(20)
    later.end()


def test_tests_that_run_alone_in_a_row_wait_once(turns: Turns, run: str) -> None:
    """The turns of another process are those of another object."""
    with turns.take(alone=True, next_alone=True):
        other = Runner(Turns(run), alone=False)
    assert not other.runs.wait(0.1)
    with turns.take(alone=True, next_alone=False):
        assert not other.runs.wait(0.1)
    assert other.runs.wait(20)
    other.end()


def test_the_floor_is_free_after_a_session_that_ended_before_the_next_test(turns: Turns, run: str) -> None:
    other = Turns(run)
    with turns.take(alone=True, next_alone=True):
        pass
    turns.close()
    with other.take(alone=True):
        pass
