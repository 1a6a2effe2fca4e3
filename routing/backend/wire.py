"""How a call is written on the wire: its request line, its fields, and the framing of its body."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from routing.errors import BadRequest
from routing.http import Body, Headers

LAST_CHUNK: Final = b"0\r\n\r\n"

EXPECT_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods that say so when they carry nothing (RFC 9110 section 8.6)."""


class Written(NamedTuple):
    """Fields as they go on the wire, and the number of lines they must be."""

    text: bytes
    lines: int


NOTHING: Final = Written(b"", 0)


@dataclass(slots=True)
class Call:
    """What is sent to a target.

    `path` is the origin-form with its query, the bytes exactly as they go on the wire; the target's base path is put
    before it. `headers` are the end-to-end fields without Host, Connection and framing, and `ready` more of them, which
    go before. A `body` of unknown `length` is sent in chunks. `host` None is the target's own.
    """

    method: str
    path: bytes
    headers: Headers
    body: Body | None
    length: int | None = None
    host: bytes | None = None
    ready: Written = NOTHING


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a target's connections lead, and what its paths begin with."""

    host: str
    port: int
    tls: bool
    authority: bytes
    base: bytes

    @property
    def key(self) -> tuple[str, int, bool]:
        """What targets that may share a connection have in common."""
        return self.host, self.port, self.tls


@lru_cache(maxsize=4096)
def origin(url: str) -> Origin:
    """The origin of a target's address, which is already validated."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return Origin(parts.hostname or "", port, tls, parts.netloc.encode(), parts.path.rstrip("/").encode())


def write(headers: Headers) -> Written:
    return Written(b"".join([name + b": " + value + b"\r\n" for name, value in headers]), len(headers))


def head(to: Origin, call: Call) -> bytes:
    """The request up to its body. Raises BadRequest when a part of it would break out of its place."""
    line = b"%b %b%b HTTP/1.1\r\n" % (call.method.encode("ascii", "replace"), to.base, call.path)
    ready, fields, framed = call.ready, write(call.headers), framing(call)
    written = b"%bhost: %b\r\n%b%b%b\r\n" % (line, call.host or to.authority, ready.text, fields.text, framed)
    if line.count(b" ") != 2 or not _has_lines(written, 3 + ready.lines + fields.lines + bool(framed)):
        raise BadRequest("The request has a character that cannot be passed on.")
    return written


def framing(call: Call) -> bytes:
    """The field that says where the body ends (RFC 9112 section 6), if there must be one."""
    if call.body is None:
        return b"content-length: 0\r\n" if call.length == 0 or call.method in EXPECT_CONTENT else b""
    if call.length is None:
        return b"transfer-encoding: chunked\r\n"
    return b"content-length: %d\r\n" % call.length


def chunk(data: bytes) -> bytes:
    """A piece of a body in the chunked coding; it must not be empty, for that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _has_lines(text: bytes, count: int) -> bool:
    """Whether the only line ends are ours: one pass of C for each of the three characters that smuggle."""
    return text.count(b"\r") == count and text.count(b"\n") == count and b"\0" not in text
