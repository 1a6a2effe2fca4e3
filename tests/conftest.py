"""The environment every test runs in, none of the developer's own; and a real Redis."""

import os
from collections.abc import Iterator

import django
import pytest

from tests.redis_server import RedisServer

os.environ["DJANGO_SETTINGS_MODULE"] = "gateway_project.settings"
os.environ["SECRET_KEY"] = "for tests alone"
os.environ["ALLOWED_HOSTS"] = "*"
os.environ["DATABASE_URL"] = "sqlite://:memory:"


def pytest_configure() -> None:
    django.setup()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for the whole run. Tests that stop theirs take `own_redis`."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """The address of a server that is up and empty."""
    shared_redis.flush()
    return shared_redis.url


@pytest.fixture
def patient_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may stall for longer than a request would wait for Redis; a test of what is said does not."""
    monkeypatch.setattr("resilience.redis.CALL_SECONDS", 20.0)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server this test alone may stop, start, pause and resume."""
    server = RedisServer()
    server.start()
    yield server
    server.close()
