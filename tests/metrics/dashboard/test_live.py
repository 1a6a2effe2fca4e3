"""The dashboard's live data: who receives it, how often, and that broadcasting stops."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.cache import cache

from gateway_project import sockets
from metrics.dashboard import live, staff
from routing.rights import Grant
from tests.websocket import Socket

pytestmark = pytest.mark.django_db(transaction=True)
"""Channels closes old connections around each message: those that tests before have left are looked at."""
HEADERS = [(b"host", b"gateway.test"), (b"origin", b"http://gateway.test")]
STAFF = User(username="ada", is_staff=True, is_superuser=True)


@pytest.fixture(autouse=True)
async def counted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[int]]:
    """Numbered snapshots, broadcast every 20 ms."""
    numbers: list[int] = []

    def snapshot(names: Any = None) -> bytes:
        numbers.append(len(numbers))
        return json.dumps({"number": numbers[-1], "names": sorted(names or ())}).encode()

    monkeypatch.setattr(live, "snapshot", snapshot)
    monkeypatch.setattr(live, "update", snapshot)
    monkeypatch.setattr(live, "BROADCAST_SECONDS", 0.02)
    cache.clear()
    yield numbers
    assert live._broadcaster._task is None, "still broadcasting without subscribers"


def socket(user: Any = STAFF, headers: list[tuple[bytes, bytes]] = HEADERS) -> Socket:
    return Socket(live.DashboardConsumer.as_asgi(), "/ws/dashboard/", headers, user=user)


async def test_staff_receive_a_snapshot_at_once_and_every_second() -> None:
    one = socket()
    assert await one.connect() is None
    numbers = [(await one.receive_json())["number"] for _ in range(3)]
    assert numbers == sorted(set(numbers))
    await one.disconnect()


async def test_all_sockets_receive_the_same_snapshots() -> None:
    one, other = socket(), socket()
    assert await one.connect() is None
    assert await other.connect() is None
    await one.receive_json()
    await other.receive_json()
    received = [{(await each.receive_json())["number"] for _ in range(4)} for each in (one, other)]
    assert received[0] & received[1]
    await one.disconnect()
    await other.disconnect()


async def test_a_second_is_claimed_by_one_worker_only(counted: list[int]) -> None:
    assert live._claim(7) is not None
    assert live._claim(7) is None
    assert len(counted) == 1


@pytest.mark.parametrize("user", [None, AnonymousUser(), User(username="eve"), User(is_staff=True, is_active=False)])
async def test_a_user_who_is_not_staff_is_refused(user: Any) -> None:
    assert await socket(user).connect() == staff.CLOSE_FORBIDDEN


@pytest.mark.parametrize(
    "origin",
    [[], [(b"origin", b"http://evil.test")], [(b"origin", b"null")], [(b"origin", b"http://gateway.test:81")]],
)
async def test_another_origin_is_refused(origin: list[tuple[bytes, bytes]]) -> None:
    assert await socket(headers=[HEADERS[0], *origin]).connect() == staff.CLOSE_FORBIDDEN


async def test_a_user_who_is_no_longer_staff_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody(_scope: Any) -> Any:
        return AnonymousUser()

    monkeypatch.setattr(live, "get_user", nobody)
    monkeypatch.setattr(live, "RECHECK_SECONDS", 0)
    one = socket()
    assert await one.connect() is None
    await one.receive_json()
    assert await one.receive() == {"type": "websocket.close", "code": staff.CLOSE_SESSION_ENDED}
    await one.disconnect()


async def test_someone_with_a_role_for_services_receives_these_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    grants, user = (Grant("Viewer", frozenset({"crm"}), {}),), Limited()
    monkeypatch.setattr(user, "_service_grants", grants)
    one = socket(user)
    assert await one.connect() is None
    assert [(await one.receive_json())["names"] for _ in range(3)] == [["crm"]] * 3

    async def nothing_any_more(_scope: Any) -> Any:
        return Limited()

    monkeypatch.setattr(live, "get_user", nothing_any_more)
    monkeypatch.setattr(live, "RECHECK_SECONDS", 0)
    while (message := await one.receive())["type"] != "websocket.close":
        pass
    assert message["code"] == staff.CLOSE_SESSION_ENDED
    assert await socket(Limited()).connect() == staff.CLOSE_FORBIDDEN
    await one.disconnect()


class Limited:
    """Staff without any right for the whole gateway."""

    is_active = is_staff = True
    _service_grants: tuple[Grant, ...] = ()

    def has_perm(self, _name: str) -> bool:
        return False


async def test_a_failed_snapshot_skips_only_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    one = socket()
    assert await one.connect() is None
    await one.receive_json()
    working, failed = live.update, asyncio.Event()
    loop = asyncio.get_running_loop()

    def failing() -> bytes:
        monkeypatch.setattr(live, "update", working)
        loop.call_soon_threadsafe(failed.set)
        raise RuntimeError("the database is unavailable")

    monkeypatch.setattr(live, "update", failing)
    await failed.wait()
    assert "number" in await one.receive_json()
    await one.disconnect()


async def test_an_unknown_path_has_no_socket() -> None:
    assert await Socket(sockets.application, "/ws/nothing/", HEADERS).connect() == sockets.NOT_FOUND


async def test_a_socket_without_a_session_is_refused() -> None:
    assert await Socket(sockets.application, "/ws/dashboard/", HEADERS).connect() == staff.CLOSE_FORBIDDEN
