"""Which tests `make quick` leaves out, how `make test` divides the tests between its processes, and which run alone."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pytest
from xdist.scheduler import LoadGroupScheduling

TESTS: Final = Path(__file__).parent
SLOW_FIXTURES: Final = frozenset(
    {
        *("shared_redis", "redis_url", "own_redis", "cluster", "pair", "sentinels"),
        *("served", "alone", "firebase", "ports", "promtool"),
    }
)
"""Fixtures that start a process or need one."""
SLOW_PARAMETERS: Final = frozenset({"asgi", "django", "redis", "tiers"})
"""Values of fixtures for which a test starts a Redis, or repeats what it does through the gateway's own server."""


SLOW_PACKAGES: Final = frozenset({"benchmarks", "browser", "gateway_project", "package", "sdk", "system", "upgrades"})
"""Packages whose tests start processes."""


def is_slow(item: pytest.Item) -> bool:
    """Whether a test needs a process of its own or a database, or repeats another one elsewhere."""
    if not SLOW_PACKAGES.isdisjoint(item.path.relative_to(item.config.rootpath).parts):
        return True
    if item.get_closest_marker("django_db") is not None:
        return True
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) or any(
        isinstance(value, str) and value in SLOW_PARAMETERS for value in parameters
    )


def runs_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


def is_left_out(path: Path, config: pytest.Config) -> bool:
    """Whether a path is a package of which no test is wanted: to import all of them takes half of a collection."""
    return config.option.markexpr == "not slow" and path.name in SLOW_PACKAGES and path.parent == TESTS


class FileScheduling(LoadGroupScheduling):
    """Runs each file in one process, and so each of its servers once. A group of tests goes before their files."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.partition("::")[0]


class Turns:
    """Lets the tests of several processes run beside each other, but nothing beside a test marked `alone`.

    The queue is held while waiting for the floor, so that tests that share the floor do not overtake one that wants it
    for itself. Of such tests in a row the first one waits, and leaves the floor to the next one: each wait leaves the
    other processes idle until the longest of their tests has ended.
    """

    def __init__(self, run: str) -> None:
        """`run` identifies the run of tests to which the processes belong."""
        directory = Path(tempfile.gettempdir())
        self._queue, self._floor = directory / f"tests-{run}.queue", directory / f"tests-{run}.floor"
        self._left: IO[str] | None = None

    @contextmanager
    def take(self, *, alone: bool, next_alone: bool = False) -> Iterator[None]:
        """`next_alone`: the next turn of this object is one of a test that runs alone too."""
        floor, self._left = self._left or self._wait(alone), None
        try:
            yield
        finally:
            if alone and next_alone:
                self._left = floor
            else:
                floor.close()

    def _wait(self, alone: bool) -> IO[str]:
        floor = self._floor.open("w")
        with self._queue.open("w") as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)
            fcntl.flock(floor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        return floor

    def close(self) -> None:
        if self._left is not None:
            self._left.close()
        for file in (self._queue, self._floor):
            file.unlink(missing_ok=True)
