"""A running gateway with PROXY_PROTOCOL=on behind a trusted proxy that this test plays."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.browser.pages import reply, running_gateway, web_server

CONFIGURATION = """
version: 1
services:
  open: {{targets: [{{url: "http://127.0.0.1:{backend}"}}], auth: none, cache: off}}
"""
GET = b"GET /api/v1/open/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def exchange(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
        return received


@pytest.mark.slow
def test_backends_are_told_the_client_of_the_header(tmp_path: Path) -> None:
    settings = {"PROXY_PROTOCOL": "on", "TRUSTED_PROXIES": "127.0.0.0/8"}
    with (
        web_server(lambda handler: reply(handler, 200, str(handler.headers).encode())) as backend,
        running_gateway(tmp_path, CONFIGURATION.format(backend=backend), **settings) as (port, _),
    ):
        received = exchange(port, b"PROXY TCP4 203.0.113.8 192.0.2.80 51234 443\r\n" + GET)
        assert b"x-forwarded-for: 203.0.113.8\n" in received.lower()
        assert b"x-forwarded-prefix: /api/v1/open\n" in received.lower()
        with suppress(ConnectionResetError):
            assert exchange(port, GET) == b""
