from collections.abc import Iterator

import pytest
import requests

from routing.demo.process import Demonstration

Ports = dict[str, int]


@pytest.fixture(scope="session")
def ports() -> Iterator[Ports]:
    """The backends, on free ports."""
    demonstration = Demonstration({})
    yield demonstration.start()
    demonstration.stop()


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session
