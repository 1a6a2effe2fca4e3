"""One gateway for all tests of its events and sockets."""

from collections.abc import Iterator

import pytest

from tests.gateway_project.live import live_backend
from tests.gateway_project.served import Served, serving


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with live_backend() as port, serving(tmp_path_factory.mktemp("gateway"), port) as gateway:
        yield gateway
