"""HTTP as bytes: requests that no client library would send, and unparsed responses."""

import contextlib
import socket
from dataclasses import dataclass
from typing import Final

from tests.system.server import Server

TIMEOUT_SECONDS: Final = 20.0
"""Seconds after which a response that does not end is considered endless."""


@dataclass(frozen=True)
class RawResponse:
    """Everything received until the server closed the connection."""

    data: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1])

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        """With its framing."""
        return self.data.partition(b"\r\n\r\n")[2]

    def field(self, name: str) -> bytes | None:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b": ")
            if key.lower() == name.encode():
                return value
        return None


def head(path: bytes, *fields: bytes, method: bytes = b"GET", host: bytes | None = b"localhost") -> bytes:
    """The head of a request with `Connection: close`."""
    named = [] if host is None else [b"Host: " + host]
    return b"\r\n".join([method + b" " + path + b" HTTP/1.1", *named, *fields, b"Connection: close", b"", b""])


def send(server: Server, *chunks: bytes) -> RawResponse:
    """Send these bytes and return the response."""
    with server.connect() as connection:
        connection.settimeout(TIMEOUT_SECONDS)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may respond before it has read all
            for chunk in chunks:
                connection.sendall(chunk)
        return RawResponse(received(connection))


def received(connection: socket.socket) -> bytes:
    """Everything until the peer closes or resets the connection."""
    data = b""
    try:
        while chunk := connection.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data
