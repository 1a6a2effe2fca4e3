"""The environment of every test, independent of the developer's, and a real Redis."""

import gc
import importlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final

import django
import hypothesis
import pytest
from django.conf import settings
from django.test import Client

from tests.redis_server import RedisServer
from tests.scheduling import FileScheduling, Turns, is_left_out, is_slow, runs_alone

os.environ["DJANGO_SETTINGS_MODULE"] = "gateway_project.settings"
os.environ["SECRET_KEY"] = "for tests alone, and long enough to sign with"
os.environ["ALLOWED_HOSTS"] = "*"
os.environ["DATABASE_URL"] = "sqlite://:memory:"


# A deadline for each example is a time of the wall clock: on a busy machine it fails a test at random.
hypothesis.settings.register_profile("gateway", deadline=None)
hypothesis.settings.load_profile("gateway")


TURNS: Final = pytest.StashKey[Turns]()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.stash[TURNS] = Turns(config.workerinput["testrunuid"])
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        gc.disable()  # until the tests are collected: nothing that they import is garbage
    django.setup()
    # Django's own advice for tests: the default hasher takes 0.4 s of a processor for each user a test creates.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    from tests.static_files import share_index

    share_index()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return is_left_out(collection_path, config) or None


def pytest_itemcollected(item: pytest.Item) -> None:
    if is_slow(item):
        item.add_marker("slow")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of tests in several processes, start the slow ones first: the others fill the gaps that remain at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Exempt the tests themselves and what they import from garbage collection, which takes 0.4 s of them each time."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Run tests marked `alone` while no other process runs one. The wait does not count for the timeout."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with item.config.stash[TURNS].take(
        alone=runs_alone(item), next_alone=nextitem is not None and runs_alone(nextitem)
    ):
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        session.config.stash[TURNS].close()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling | None:
    return FileScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture
def root(db: None) -> Client:
    """A logged-in superuser."""
    from django.contrib.auth.models import User

    client = Client()
    client.force_login(User.objects.create_superuser("root", password="for tests alone"))
    return client


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for the whole run. Tests that stop theirs take `own_redis`."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_url(shared_redis: RedisServer) -> str:
    """The URL of a running, empty server."""
    shared_redis.flush()
    return shared_redis.url


@pytest.fixture(autouse=True)
def redis_timeout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A longer timeout for Redis, since tests must not fail on a busy machine, except for those of the timeout."""
    if request.node.get_closest_marker("redis_timeout") is None:
        monkeypatch.setattr("resilience.redis.CALL_SECONDS", 20.0)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that is not shared: the test may stop, start, pause and resume it."""
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def groups(request: pytest.FixtureRequest) -> None:
    """The groups that a migration makes: other tests' transactions truncate all tables."""
    if request.node.get_closest_marker("django_db") is None and "db" not in request.fixturenames:
        return
    request.getfixturevalue("db")
    from django.apps import apps
    from django.contrib.auth.models import Group
    from django.db import connection

    if not Group.objects.exists():
        importlib.import_module("routing.migrations.0010_rights").create_groups(apps, connection.schema_editor())
