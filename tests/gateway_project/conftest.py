"""One gateway, shared by the tests of its events and WebSockets."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.gateway_project.live import live_backend
from tests.gateway_project.served import Served, serving
from tests.redis_server import RedisServer


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run all tests of the shared gateway in one process, which starts it once."""
    if "served" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.xdist_group("served gateway"))


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("gateway")
    with closing(RedisServer()) as redis, live_backend() as port, serving(directory, port, redis) as gateway:
        yield gateway
