"""Which tests `make quick` leaves out, and how `make test` divides the tests between its processes."""

from typing import Final

import pytest
from xdist.scheduler import LoadGroupScheduling

SLOW_FIXTURES: Final = frozenset(
    {"shared_redis", "redis_url", "own_redis", "cluster", "served", "alone", "firebase", "ports", "promtool"}
)
"""Fixtures that start a process or need one."""
SLOW_PARAMETERS: Final = frozenset({"asgi", "django", "redis", "tiers"})
"""Values of fixtures for which a test starts a Redis, or repeats what it does through the gateway's own server."""


SLOW_PACKAGES: Final = frozenset({"benchmarks", "browser", "gateway_project", "system"})
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


class FileScheduling(LoadGroupScheduling):
    """Runs each file in one process, and so each of its servers once. A group of tests goes before their files."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.partition("::")[0]
