"""Requests that are alike share what was worked out for the first of them, and nothing that is one request's own."""

from typing import Any

import pytest

from routing.router.policy import Auth, RoutePolicy
from tests.gateway.conftest import World

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok"
OPEN = RoutePolicy(auth=Auth.NONE)


async def told(world: World, *headers: tuple[str, str], **kwargs: Any) -> dict[bytes, bytes]:
    """What the backend is told of one more request that is like the others."""
    answer = await world.request("GET", "/api/v1/crm/x", headers, **kwargs)
    assert answer.status == 200
    return dict(world.origins[-1].requests[-1].fields)


@pytest.fixture
async def alike(world: World) -> World:
    await world.serve(OK, policy=OPEN)
    return world


async def test_each_has_its_own_request_id_and_begins_its_own_trace(alike: World) -> None:
    one, other = await told(alike), await told(alike)
    for name in (b"x-request-id", b"traceparent"):
        assert one[name] != other[name]
    assert (await told(alike, ("X-Request-ID", "mine")))[b"x-request-id"] == b"mine"


async def test_each_is_told_of_with_its_own_fields(alike: World) -> None:
    assert b"x-color" not in await told(alike)
    assert (await told(alike, ("X-Color", "red")))[b"x-color"] == b"red"
    assert (await told(alike, ("X-Color", "blue")))[b"x-color"] == b"blue"
    assert b"x-color" not in await told(alike)


async def test_each_comes_from_its_own_address(alike: World) -> None:
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        assert (await told(alike, client=client))[b"x-forwarded-for"] == client.encode()


async def test_each_goes_on_in_its_own_trace(alike: World) -> None:
    for digit in "12":
        given = f"00-{digit * 32}-{digit * 16}-01"
        assert (await told(alike, ("traceparent", given)))[b"traceparent"] == given.encode()
    assert (await told(alike))[b"traceparent"] != given.encode()
