"""Which tests run beside each other."""

import threading
import uuid
from collections.abc import Iterator

import pytest

from tests.scheduling import Turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = Turns(uuid.uuid4().hex)
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
