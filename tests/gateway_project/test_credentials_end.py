"""An open WebSocket when its token expires or is revoked, and when a newer token was sent before."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import msgspec
import pytest
import requests
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.firebase import PROJECT, FirebaseIssuer, encoded
from tests.gateway_project.live import live_backend
from tests.gateway_project.served import TOPIC, Served, close_code, read, serving
from tests.redis_server import RedisServer

EXPIRED = 4401
SHORT = 6
"""Seconds until a token expires: long enough to connect, even on a busy machine."""


@pytest.fixture(scope="module")
def firebase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that accepts the unsigned tokens of the Firebase emulator."""
    emulator = {"DEBUG": "1", "FIREBASE_PROJECT_ID": PROJECT, "FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:1"}
    directory = tmp_path_factory.mktemp("firebase")
    with (
        closing(RedisServer()) as redis,
        live_backend() as port,
        serving(directory, port, redis, **emulator) as gateway,
    ):
        yield gateway


def token(seconds: float, **claims: object) -> str:
    header = {"alg": "none", "typ": "JWT"}
    claims = FirebaseIssuer().claims(exp=int(time.time() + seconds), **claims)
    return f"{encoded(header)}.{encoded(claims)}."


def connect_with(served: Served, credential: str, path: str = "/ws/events/") -> Any:
    return served.socket(path, additional_headers={"Authorization": f"Bearer {credential}"})


async def authenticate(ws: ClientConnection, credential: str) -> dict[str, Any]:
    await ws.send(msgspec.json.encode({"type": "auth", "token": credential}).decode())
    return await read(ws)


async def close_code_while_sending(ws: ClientConnection) -> int | None:
    """The close code received by a client that keeps sending."""
    try:
        while True:
            await ws.send("message")
            await ws.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def a_socket_is_closed_when_its_token_expires(firebase: Served) -> None:
    end = int(time.time() + SHORT)
    async with connect_with(firebase, token(SHORT)) as ws:
        await ws.send(TOPIC)
        assert (await read(ws))["type"] == "subscribed"
        assert await close_code(ws) == EXPIRED
        assert time.time() >= end


async def a_newer_token_keeps_it_open(firebase: Served) -> None:
    end = int(time.time() + SHORT)
    async with connect_with(firebase, token(SHORT)) as ws, connect_with(firebase, token(SHORT)) as control:
        reply = await authenticate(ws, token(3_600))
        assert (reply["type"], reply["caller"]) == ("authenticated", "firebase:ada")
        assert reply["expires"] > end + SHORT
        await ws.send(TOPIC)
        assert await close_code(control) == EXPIRED
        assert firebase.publish("after the first token has expired").status_code == 202
        while "id" not in (message := await read(ws)):
            pass
        assert message["data"] == "after the first token has expired"


async def a_token_of_another_caller_is_refused(firebase: Served) -> None:
    async with connect_with(firebase, token(SHORT)) as ws:
        reply = await authenticate(ws, token(3_600, sub="bob"))
        assert (reply["type"], reply["code"]) == ("error", "forbidden")
        assert await close_code(ws) == EXPIRED


async def a_busy_service_socket_is_closed_when_its_token_expires(firebase: Served) -> None:
    async with connect_with(firebase, token(SHORT), "/api/v1/live/") as ws:
        assert await close_code_while_sending(ws) == EXPIRED


async def a_revocation_of_their_user_closes_them(firebase: Served) -> None:
    eve, other = token(3_600, sub="eve"), token(3_600, sub="control")
    async with (
        connect_with(firebase, eve) as events,
        connect_with(firebase, eve, "/api/v1/live/") as service,
        connect_with(firebase, other) as control,
    ):
        await events.send(TOPIC)
        assert (await read(events))["type"] == "subscribed"
        headers = {"X-API-Key": firebase.operator_key}
        revoke = partial(requests.post, f"{firebase.url}/api/revocations", json={"subject": "eve"}, headers=headers)
        response = await asyncio.to_thread(revoke, timeout=20)
        assert response.status_code == 201, response.text
        assert await close_code(events) == EXPIRED
        assert await close_code_while_sending(service) == EXPIRED
        await control.send(TOPIC)
        assert (await read(control))["type"] == "subscribed"


async def test_sockets_and_the_expiry_of_their_tokens(firebase: Served) -> None:
    """Concurrently: each waits for a token to expire."""
    await asyncio.gather(
        a_socket_is_closed_when_its_token_expires(firebase),
        a_newer_token_keeps_it_open(firebase),
        a_token_of_another_caller_is_refused(firebase),
        a_busy_service_socket_is_closed_when_its_token_expires(firebase),
        a_revocation_of_their_user_closes_them(firebase),
    )
