"""What becomes of an open socket when its caller's token ends, and when a fresher one came before."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.firebase import PROJECT, FirebaseIssuer, encoded
from tests.gateway_project.live import live_backend
from tests.gateway_project.served import TOPIC, Served, close_code, read, serving
from tests.redis_server import RedisServer

ENDED = 4401
SHORT = 6
"""Seconds a token lasts that a test sees the end of: long enough to connect with, on a busy machine too."""


@pytest.fixture(scope="module")
def firebase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that takes an emulator's tokens, which need nobody's signature."""
    emulator = {"DEBUG": "1", "FIREBASE_PROJECT_ID": PROJECT, "FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:1"}
    place = tmp_path_factory.mktemp("firebase")
    with closing(RedisServer()) as redis, live_backend() as port, serving(place, port, redis, **emulator) as gateway:
        yield gateway


def token(lasts: float, **claims: object) -> str:
    header = {"alg": "none", "typ": "JWT"}
    claims = FirebaseIssuer().claims(exp=int(time.time() + lasts), **claims)
    return f"{encoded(header)}.{encoded(claims)}."


def bearing(served: Served, credential: str, path: str = "/ws/events/") -> Any:
    return served.socket(path, additional_headers={"Authorization": f"Bearer {credential}"})


async def authenticate(ws: ClientConnection, credential: str) -> dict[str, Any]:
    await ws.send(msgspec.json.encode({"type": "auth", "token": credential}).decode())
    return await read(ws)


async def code_after_talking(ws: ClientConnection) -> int | None:
    """How the other side closes on somebody who is never silent."""
    try:
        while True:
            await ws.send("on and on")
            await ws.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def a_socket_ends_with_its_token(firebase: Served) -> None:
    end = int(time.time() + SHORT)
    async with bearing(firebase, token(SHORT)) as ws:
        await ws.send(TOPIC)
        assert (await read(ws))["type"] == "subscribed"
        assert await close_code(ws) == ENDED
        assert time.time() >= end


async def a_fresher_token_sent_before_keeps_it(firebase: Served) -> None:
    end = int(time.time() + SHORT)
    async with bearing(firebase, token(SHORT)) as ws, bearing(firebase, token(SHORT)) as control:
        said = await authenticate(ws, token(3_600))
        assert (said["type"], said["caller"]) == ("authenticated", "firebase:ada")
        assert said["expires"] > end + SHORT
        await ws.send(TOPIC)
        assert await close_code(control) == ENDED
        assert firebase.publish("after the first token's end").status_code == 202
        while "id" not in (message := await read(ws)):
            pass
        assert message["data"] == "after the first token's end"


async def anothers_token_keeps_nothing(firebase: Served) -> None:
    async with bearing(firebase, token(SHORT)) as ws:
        said = await authenticate(ws, token(3_600, sub="bob"))
        assert (said["type"], said["code"]) == ("error", "forbidden")
        assert await close_code(ws) == ENDED


async def a_services_socket_ends_with_its_token_however_much_is_said(firebase: Served) -> None:
    async with bearing(firebase, token(SHORT), "/api/v1/live/") as ws:
        assert await code_after_talking(ws) == ENDED


async def test_what_the_end_of_a_token_comes_to(firebase: Served) -> None:
    """All at once: each waits for the end of a token."""
    await asyncio.gather(
        a_socket_ends_with_its_token(firebase),
        a_fresher_token_sent_before_keeps_it(firebase),
        anothers_token_keeps_nothing(firebase),
        a_services_socket_ends_with_its_token_however_much_is_said(firebase),
    )
