"""Garbage of older generations is collected too, although the youngest is collected after each request."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from gateway_project import garbage_collection


class Cycle:
    """Only the garbage collector frees it."""

    def __init__(self) -> None:
        self.itself = self


AT_EXIT = """
import atexit, gc
from gateway_project import garbage_collection
atexit.register(lambda: print(gc.get_freeze_count() > 1_000))  # runs after those that are registered later
garbage_collection.begin_loading()
print(gc.get_freeze_count(), gc.isenabled(), gc.get_threshold()[0])
"""


@pytest.fixture(autouse=True)
def no_automatic_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def collections_until_freed(generation: int) -> int:
    """How many collections it takes until a cycle is freed that has reached `generation` before it became garbage."""
    cycle = Cycle()
    for youngest in range(generation):
        gc.collect(youngest)
    freed = weakref.ref(cycle)
    del cycle
    for count in range(1, 100):
        garbage_collection.collect_after_page((3, 2))
        if freed() is None:
            return count
    return 100


def test_new_garbage_is_collected_at_once() -> None:
    assert collections_until_freed(0) == 1


def test_garbage_that_was_in_use_during_a_collection_is_collected_by_the_threshold() -> None:
    assert 1 < collections_until_freed(1) <= 5


def test_garbage_of_the_oldest_generation_is_collected_by_the_thresholds() -> None:
    assert 5 < collections_until_freed(2) <= 20


def test_a_command_collects_rarely_while_it_loads_and_nothing_when_it_ends() -> None:
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True", str(garbage_collection.LOADING_THRESHOLD), "True"]
