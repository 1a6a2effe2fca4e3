"""A running gateway with what proxies ahead of it need: KEEP_ALIVE_SECONDS and INTERIM_RESPONSES."""

import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.browser.pages import OPEN_SERVICE, reply, running_gateway, web_server

GET = b"GET /api/v1/open/x HTTP/1.1\r\nHost: localhost\r\n\r\n"


def respond_early(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response_only(103)
    handler.send_header("Link", "</a.css>; rel=preload")
    handler.end_headers()
    reply(handler, 200, b"done")


@pytest.mark.slow
def test_interim_responses_are_dropped_and_idle_connections_closed_in_time(tmp_path: Path) -> None:
    settings = {"KEEP_ALIVE_SECONDS": "1", "INTERIM_RESPONSES": "off"}
    with (
        web_server(respond_early) as backend,
        running_gateway(tmp_path, OPEN_SERVICE.format(backend=backend), **settings) as (port, _),
        socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
    ):
        received = b""
        for _ in range(2):  # the connection is kept in between
            connection.sendall(GET)
            received = b""
            while not received.endswith(b"done"):
                received += connection.recv(65_536)
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert received.count(b"HTTP/1.1 ") == 1
        assert connection.recv(1) == b""  # closed
