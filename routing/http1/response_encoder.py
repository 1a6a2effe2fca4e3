"""Encodes responses: status line, fields, and a body framed so that the client knows where it ends (RFC 9112)."""

from http import HTTPStatus
from typing import Final

from routing.http import Headers

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
STATUS_LINES: Final = tuple(b"HTTP/1.1 %d %b" % (code, _REASONS.get(code, "").encode()) for code in range(600))
NO_CONTENT: Final = 204
BODILESS: Final = frozenset({NO_CONTENT, 304})
"""Statuses whose responses end with the head (RFC 9110 section 6.4.1)."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

CLOSE: Final = (b"connection", b"close")
KEEP_ALIVE: Final = (b"connection", b"keep-alive")
CHUNKED: Final = (b"transfer-encoding", b"chunked")


def encode_head(status: int, headers: Headers, date: bytes) -> bytes:
    """The head, with its empty line. Adds `date` if the response has none (RFC 9110 section 6.6.1).

    Raises ValueError for a field with a line break (RFC 9112 section 11.1).
    """
    lines = b"\r\n".join((STATUS_LINES[status], *map(b": ".join, headers)))
    # One pass for both bytes: counting each takes twice as long, 0.4 us per response.
    if len(lines) - len(lines.translate(None, b"\r\n")) != 2 * len(headers):
        raise ValueError("a field contains a line break")
    if b"\r\ndate: " in lines:
        return lines + b"\r\n\r\n"
    return b"%b\r\ndate: %b\r\n\r\n" % (lines, date)


def encode_interim(status: int, headers: Headers) -> bytes:
    """An interim response (RFC 9110 section 15.2). Raises ValueError for a field with a line break."""
    lines = [STATUS_LINES[status], *map(b": ".join, headers)]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise ValueError("a field contains a line break")
    return b"\r\n".join([*lines, b"", b""])


def encode_sized_head(method: str, status: int, headers: Headers, size: int, date: bytes) -> bytes:
    """The head of a response whose whole body, of `size` bytes, follows.

    Raises ValueError if Content-Length differs: the client would take the rest for the next response.
    """
    encoded = encode_head(status, headers, date)
    if size == 0 and (method == "HEAD" or status in BODILESS):
        return encoded
    if b"\r\ncontent-length: %d\r\n" % size not in encoded:
        raise ValueError("the body's length differs from Content-Length")
    return encoded


class ResponseEncoder:
    """Encodes one streamed response. `keep_alive`: whether the connection can be used again after it.

    Raises ValueError for malformed fields or a body whose length differs from Content-Length.
    """

    def __init__(self, method: str, version: str, status: int, headers: Headers, *, keep_alive: bool) -> None:
        bodiless = method == "HEAD" or status in BODILESS
        self._bodiless = bodiless
        self._remaining = None if bodiless else _content_length(headers)
        self._chunked = not bodiless and self._remaining is None and version == "1.1"
        self.keep_alive = keep_alive and (bodiless or self._chunked or self._remaining is not None)
        self._status = status
        self._headers = [*headers, CHUNKED] if self._chunked else [*headers]
        self._headers += connection_fields(version, keep_alive=self.keep_alive)

    @property
    def is_close_delimited(self) -> bool:
        """Whether the body ends where the connection does (RFC 9112 section 6.3)."""
        return not (self._bodiless or self._chunked or self._remaining is not None)

    def head(self, date: bytes) -> bytes:
        return encode_head(self._status, self._headers, date)

    def chunk(self, data: bytes) -> bytes:
        """The next part of the body."""
        if self._bodiless or not data:
            return b""
        if self._chunked:
            return b"%x\r\n%b\r\n" % (len(data), data)
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining < 0:
                raise ValueError("the body is longer than Content-Length")
        return data

    def end(self) -> bytes:
        """What follows the last part of the body."""
        if self._remaining:
            raise ValueError("the body is shorter than Content-Length")
        return LAST_CHUNK if self._chunked else b""


def connection_fields(version: str, *, keep_alive: bool) -> Headers:
    """The Connection field, where the version's default is different (RFC 9112 section 9.3)."""
    if not keep_alive:
        return [CLOSE]
    return [] if version == "1.1" else [KEEP_ALIVE]


def _content_length(headers: Headers) -> int | None:
    for name, value in headers:
        if name == b"content-length":
            return int(value)
    return None
