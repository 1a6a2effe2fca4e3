"""A change that a process without a gateway saves is announced to the workers, at once or not at all."""

import threading
from collections.abc import Callable

import msgspec
import pytest
from django.conf import settings
from django.core.management import call_command
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway_project.parts import announcements
from gateway_project.parts.announcements import PAUSE_SECONDS, Announcer, announce_changes
from routing import signals
from tests.clock import FakeClock
from tests.redis_server import RedisServer


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets REDIS_URL for a process in which no gateway runs."""

    def with_redis(url: str) -> None:
        config = msgspec.structs.replace(settings.CONFIG, redis_url=url, redis_prefix="own")
        monkeypatch.setattr(settings, "CONFIG", config)
        announce_changes()

    monkeypatch.setattr(announcements, "SEND_SECONDS", 20.0)
    signals.configuration_changed.disconnect(dispatch_uid=signals.ANNOUNCER)
    return with_redis


@pytest.fixture(autouse=True)
def _restored() -> object:
    yield
    signals.configuration_changed.disconnect(dispatch_uid=signals.ANNOUNCER)
    announce_changes()


@pytest.mark.django_db(transaction=True)
def test_a_key_that_a_command_makes_is_announced(configure: Callable[[str], None], redis_url: str) -> None:
    configure(redis_url)
    with Redis.from_url(redis_url) as client, client.pubsub(ignore_subscribe_messages=True) as worker:
        worker.subscribe("own:configuration")
        worker.get_message(timeout=20)
        call_command("apikey", "create", "reports", "--all-services", "--owner", "data", verbosity=0)
        message = worker.get_message(timeout=20)
    assert message is not None
    assert message["data"] == b"changed"


@pytest.mark.django_db(transaction=True)
def test_a_command_succeeds_while_redis_is_away(configure: Callable[[str], None], own_redis: RedisServer) -> None:
    configure(own_redis.url)
    own_redis.stop()
    call_command("apikey", "create", "reports", "--all-services", "--owner", "data", verbosity=0)


def test_redis_that_hangs_is_not_waited_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcements, "SEND_SECONDS", 0.01)
    end, sent, clock = threading.Event(), [], FakeClock(100.0)

    def send() -> None:
        sent.append(clock())
        end.wait()

    announcer = Announcer(send, clock)
    for pause in (0.0, 1.0, PAUSE_SECONDS):
        clock.advance(pause)
        announcer.announce()
    end.set()
    assert sent == [100.0, 131.0]


def test_what_redis_raises_is_not_an_error_of_the_command() -> None:
    def send() -> None:
        raise RedisConnectionError

    Announcer(send).announce()
