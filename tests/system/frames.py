"""WebSocket as bytes (RFC 6455): frames that no client library would send, and the server's frames."""

import socket
from contextlib import suppress
from typing import Final, NamedTuple, Self

from tests.system.server import Server

TIMEOUT_SECONDS: Final = 20.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
MASK: Final = b"\x11\x22\x33\x44"


class Frame(NamedTuple):
    """A frame from the server."""

    kind: int
    payload: bytes


class ConnectionEnded(Exception):
    """The server closed the connection without a frame."""


def frame(kind: int, payload: bytes = b"", *, end: bool = True, reserved: int = 0, mask: bytes | None = MASK) -> bytes:
    """Encode a frame. `reserved` are the three bits after FIN, as a number."""
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
    """A connection after its handshake. `window`: the size of the client's receive buffer in bytes."""

    def __init__(self, server: Server, path: str, *fields: str, window: int | None = None) -> None:
        self._socket = socket.socket()
        if window is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        self._socket.settimeout(TIMEOUT_SECONDS)
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

    def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self._socket.sendall(chunk)

    def read(self) -> Frame:
        """The next frame that is no ping; pings are replied to (RFC 6455 section 5.5.2). Raises ConnectionEnded."""
        while (got := self._frame()).kind == PING:
            with suppress(OSError):  # the server may have closed, with frames still to be read
                self.send(frame(PONG, got.payload))
        return got

    def code(self) -> int | None:
        """The server's close code, or None if there was none."""
        try:
            while (got := self.read()).kind != CLOSE:
                pass
        except ConnectionEnded:
            return None
        return int.from_bytes(got.payload[:2], "big") if got.payload else 1005

    def ends(self) -> bool:
        """Whether the connection ends without another frame."""
        try:
            self.read()
        except ConnectionEnded:
            return True
        return False

    def _frame(self) -> Frame:
        """Read a frame, which must be neither a fragment nor masked."""
        first, second = self._take(2)
        assert (first & 0xF0, second & 0x80) == (0x80, 0), "a fragment, a reserved bit or a mask"
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
        return Frame(first & 0xF, self._take(size))

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
            raise AssertionError("the server neither sends nor closes") from None
        if not data:
            raise ConnectionEnded
        self._buffer += data
