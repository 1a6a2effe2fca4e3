"""WebSocket as bytes (RFC 6455): frames that no client library would send, and what the server made of them."""

import socket
from contextlib import suppress
from typing import Final, NamedTuple, Self

from tests.system.server import Server

PATIENCE: Final = 20.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK: Final = b"\x11\x22\x33\x44"


class Got(NamedTuple):
    """A frame of the server's."""

    kind: int
    payload: bytes


class Ended(Exception):
    """The server ended the connection without a frame."""


def frame(kind: int, payload: bytes = b"", *, end: bool = True, reserved: int = 0, mask: bytes | None = MASK) -> bytes:
    """One frame; `reserved` are the three bits beside FIN, as a number."""
    first, flag = (end << 7) | (reserved << 4) | kind, 0x80 if mask else 0
    if len(payload) < 126:
        head = bytes([first, flag | len(payload)])
    elif len(payload) < 65_536:
        head = bytes([first, flag | 126]) + len(payload).to_bytes(2, "big")
    else:
        head = bytes([first, flag | 127]) + len(payload).to_bytes(8, "big")
    return head + (mask + masked(payload, mask) if mask else payload)


def masked(payload: bytes, mask: bytes = MASK) -> bytes:
    """RFC 6455 section 5.3."""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def closing(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


class Wire:
    """A connection whose handshake is done. `window`: how few bytes the client takes that it has not read."""

    def __init__(self, server: Server, path: str, *fields: str, window: int | None = None) -> None:
        self._socket = socket.socket()
        if window is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", server.port))
        lines = [
            f"GET {path} HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *fields,
        ]
        self.send("\r\n".join([*lines, "", ""]).encode())
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        self.head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._socket.sendall(piece)

    def read(self) -> Got:
        """The server's next frame, its pings apart: those are answered (RFC 6455 section 5.5.2). Raises Ended."""
        while (got := self._frame()).kind == PING:
            with suppress(OSError):  # it may have gone, and what it said before still be to read
                self.send(frame(PONG, got.payload))
        return got

    def code(self) -> int | None:
        """The code of the server's closing; None where it ended without saying one."""
        try:
            while (got := self.read()).kind != CLOSE:
                pass
        except Ended:
            return None
        return int.from_bytes(got.payload[:2], "big") if got.payload else 1005

    def ends(self) -> bool:
        """Whether nothing more comes, the connection's end apart."""
        try:
            self.read()
        except Ended:
            return True
        return False

    def _frame(self) -> Got:
        """One frame, which is whole and not masked."""
        first, second = self._take(2)
        assert (first & 0xF0, second & 0x80) == (0x80, 0), "a fragment, a reserved bit or a mask"
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        return Got(first & 0xF, self._take(size))

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _more(self) -> None:
        try:
            data = self._socket.recv(65_536)
        except ConnectionResetError:
            data = b""
        except TimeoutError:
            raise AssertionError("the server says nothing, and does not end") from None
        if not data:
            raise Ended
        self._buffer += data
