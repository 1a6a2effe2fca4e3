"""Repeated requests share a memoised resolution, but nothing that is specific to one request."""

from typing import Any

import pytest

from routing.router.policy import Auth, RoutePolicy
from tests.gateway.conftest import World

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: no-store\r\n\r\nok"
OPEN = RoutePolicy(auth=Auth.NONE)


async def forwarded_fields(world: World, *headers: tuple[str, str], **kwargs: Any) -> dict[bytes, bytes]:
    """The fields that the backend receives of one more request."""
    response = await world.request("GET", "/api/v1/crm/x", headers, **kwargs)
    assert response.status == 200
    return dict(world.origins[-1].requests[-1].fields)


@pytest.fixture
async def served(world: World) -> World:
    await world.serve(OK, policy=OPEN)
    return world


async def test_each_request_has_its_own_request_id_and_trace(served: World) -> None:
    one, other = await forwarded_fields(served), await forwarded_fields(served)
    for name in (b"x-request-id", b"traceparent"):
        assert one[name] != other[name]
    assert (await forwarded_fields(served, ("X-Request-ID", "mine")))[b"x-request-id"] == b"mine"


async def test_each_request_is_forwarded_with_its_own_fields(served: World) -> None:
    assert b"x-color" not in await forwarded_fields(served)
    assert (await forwarded_fields(served, ("X-Color", "red")))[b"x-color"] == b"red"
    assert (await forwarded_fields(served, ("X-Color", "blue")))[b"x-color"] == b"blue"
    assert b"x-color" not in await forwarded_fields(served)


async def test_each_request_is_forwarded_with_its_own_address(served: World) -> None:
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        assert (await forwarded_fields(served, client=client))[b"x-forwarded-for"] == client.encode()


async def test_each_request_continues_its_own_trace(served: World) -> None:
    for digit in "12":
        traceparent = f"00-{digit * 32}-{digit * 16}-01"
        assert (await forwarded_fields(served, ("traceparent", traceparent)))[b"traceparent"] == traceparent.encode()
    assert (await forwarded_fields(served))[b"traceparent"] != traceparent.encode()
