"""A running gateway with MAX_CONNECTIONS_PER_CLIENT, HTTP and WebSockets together."""

import socket
from functools import partial
from pathlib import Path

import pytest

from tests.browser.pages import reply, running_gateway, web_server
from tests.processes import eventually

CONFIGURATION = """
version: 1
services:
  open: {{targets: [{{url: "http://127.0.0.1:{backend}"}}], auth: none, cache: off}}
"""
GET = b"GET /api/v1/open/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPGRADE = (
    b"GET /ws/events/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
LIMIT = 3


def connect(port: int, data: bytes) -> tuple[socket.socket, bytes]:
    """A connection and what is received first; nothing if it was closed."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    try:
        connection.sendall(data)
        return connection, connection.recv(12)
    except (ConnectionResetError, BrokenPipeError):
        return connection, b""


def is_answered(port: int) -> bool:
    connection, received = connect(port, GET)
    connection.close()
    return received != b""


def connects(port: int, data: bytes, status: bytes, opened: list[socket.socket]) -> bool:
    """Add a connection to `opened`, unless one that has just ended is still counted."""
    connection, received = connect(port, data)
    if received == status:
        opened.append(connection)
    else:
        connection.close()
    return received == status


@pytest.mark.slow
def test_connections_above_the_limit_are_closed_until_others_end(tmp_path: Path) -> None:
    with (
        web_server(lambda handler: reply(handler, 200, b"x")) as backend,
        running_gateway(tmp_path, CONFIGURATION.format(backend=backend), MAX_CONNECTIONS_PER_CLIENT=str(LIMIT)) as (
            port,
            _,
        ),
    ):
        for data, status in ((GET, b"HTTP/1.1 200"), (UPGRADE, b"HTTP/1.1 101")):
            opened: list[socket.socket] = []
            for count in range(1, LIMIT + 1):
                assert eventually(partial(connects, port, data, status, opened))
                assert len(opened) == count
            assert not is_answered(port)
            for connection in opened:
                connection.close()
            assert eventually(lambda: is_answered(port))
