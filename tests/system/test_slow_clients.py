"""Clients that send or read slowly over real sockets: they are cut in time, and others are not affected."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.origin import Peer
from tests.processes import eventually
from tests.system.backend import Backend, ok
from tests.system.conftest import UNLIMITED, Seed
from tests.system.server import Server, document
from tests.system.wire import head, received

IMPATIENT = {"connect": "2s", "read": "5s", "total": "2s", "idle": "1s"}
BIG = 32 << 20


async def big(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG))


async def heartbeats(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    for _ in range(8):
        await peer.send(b": ping\n\n")
        await asyncio.sleep(0.5)
    peer.close()


async def swallow(peer: Peer) -> None:
    await peer.read_body()
    await peer.send(ok())


@pytest.fixture(scope="module")
def server(seed: Seed) -> Iterator[Server]:
    """A service whose circuit opens at the second failure, and that takes two calls at a time."""
    with Backend({"/big": big, "/events": heartbeats, "/upload": swallow}) as backend:
        service: dict[str, Any] = {
            "targets": backend.targets,
            "auth": "none",
            "cache": False,
            "rate_limit": UNLIMITED,
            "timeout": IMPATIENT,
            "max_concurrency": 2,
            "breaker": {"failure_threshold": 2, "window": "60s", "open_for": "60s"},
        }
        made = Server(seed=seed.database)
        file = made.directory / "gateway.yaml"
        file.write_text(document({"slow": service}))
        made.environment["GATEWAY_CONFIG"] = str(file)
        with made:
            yield made


def open_request(server: Server, data: bytes, window: int | None = None) -> socket.socket:
    connection = socket.socket()
    if window is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(data)
    return connection


def assert_served(server: Server) -> None:
    response = server.get("/api/v1/slow/quick")
    assert (response.status_code, response.headers.get("X-Circuit-State")) == (200, None)


def test_a_stalled_upload_is_a_request_timeout_and_closes_the_connection(server: Server) -> None:
    sent = head(b"/api/v1/slow/upload", b"Content-Length: 10", method=b"POST").replace(b"Connection: close\r\n", b"")
    for _ in range(3):
        with open_request(server, sent + b"a") as connection:
            response = received(connection)
        assert response.startswith(b"HTTP/1.1 408 ")
        assert json.loads(response.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"
        assert b"connection: close" in response.lower()
    assert_served(server)


@pytest.mark.alone
def test_dripping_uploads_end_at_the_total_time_and_open_no_circuit(server: Server) -> None:
    sent = head(b"/api/v1/slow/upload", b"Content-Length: 1000", method=b"POST")
    connections = [open_request(server, sent) for _ in range(2)]
    began = time.monotonic()
    for _ in range(12):
        for connection in connections:
            try:
                connection.sendall(b"a")
            except OSError:
                break
        time.sleep(0.2)
    for connection in connections:
        assert received(connection).startswith(b"HTTP/1.1 408 ")
        connection.close()
    assert time.monotonic() - began < 6
    assert_served(server)


@pytest.mark.alone
def test_a_reader_that_takes_nothing_is_cut_and_its_slot_is_free(server: Server) -> None:
    stalled = [open_request(server, head(b"/api/v1/slow/big"), 4_096) for _ in range(2)]
    assert eventually(lambda: server.get("/api/v1/slow/quick").status_code == 503)
    began = time.monotonic()
    assert eventually(lambda: server.get("/api/v1/slow/quick").status_code == 200, 10)
    assert time.monotonic() - began < 5
    assert_served(server)
    for connection in stalled:
        connection.close()


def test_a_reader_that_takes_a_little_at_a_time_is_served(server: Server) -> None:
    with open_request(server, head(b"/api/v1/slow/big"), 65_536) as connection:
        size, end = 0, time.monotonic() + 3
        while time.monotonic() < end:
            size += len(connection.recv(16_384))
            time.sleep(0.1)
        while chunk := connection.recv(1 << 20):
            size += len(chunk)
    assert size > BIG
    assert_served(server)


def test_event_streams_outlast_the_total_time(server: Server) -> None:
    for _ in range(2):
        with server.get("/api/v1/slow/events", stream=True) as response:
            assert response.content.count(b"ping") == 8
    assert_served(server)
