"""Events that are published by callers whose bodies drip."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from routing.caller import Caller
from routing.http import Request
from routing.messages import request_body
from routing.realtime.http import EventsEndpoint
from tests.gateway.conftest import make_world
from tests.routing.realtime.world import Worker

PUBLISHER = Caller("key:writer", scopes=frozenset({"*", "events:publish"}))


async def dripping(taken: list[int]) -> AsyncIterator[bytes]:
    while True:
        taken.append(1)
        await asyncio.sleep(0.01)
        yield b" "


async def test_a_body_that_drips_ends_in_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "ENDPOINT_BODY_SECONDS", 0.1)
    world = make_world("asgi")
    headers = [(b"host", b"h"), (b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    taken: list[int] = []
    async with Worker() as worker:
        endpoint = EventsEndpoint(world.gateway, worker.realtime)
        request = Request("POST", b"/events", b"", headers, "", body=dripping(taken), caller=PUBLISHER)
        response = await endpoint.answer(request)
    assert response.status == 408
    assert isinstance(response.body, bytes)
    assert b'"request_timeout"' in response.body
    read = len(taken)
    await asyncio.sleep(0.05)
    assert len(taken) == read
    await world.close()
