"""HTTP as bytes: requests that no client library would send, and answers as they came."""

import contextlib
import socket
from dataclasses import dataclass
from typing import Final

from tests.system.server import Server

PATIENCE: Final = 20.0
"""Seconds after which an answer that does not end is called endless."""


@dataclass(frozen=True)
class Raw:
    """All that came until the server closed the connection."""

    data: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(b" ")[1])

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        """As it was framed."""
        return self.data.partition(b"\r\n\r\n")[2]

    def field(self, name: str) -> bytes | None:
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b": ")
            if key.lower() == name.encode():
                return value
        return None


def head(path: bytes, *fields: bytes, method: bytes = b"GET", host: bytes | None = b"localhost") -> bytes:
    """A request's head that asks the server to close the connection afterwards."""
    named = [] if host is None else [b"Host: " + host]
    return b"\r\n".join([method + b" " + path + b" HTTP/1.1", *named, *fields, b"Connection: close", b"", b""])


def send(server: Server, *pieces: bytes) -> Raw:
    """What the server answers to these bytes."""
    with server.connect() as connection:
        connection.settimeout(PATIENCE)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it need not hear all before it answers
            for piece in pieces:
                connection.sendall(piece)
        return Raw(received(connection))


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, in good order or not."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data
