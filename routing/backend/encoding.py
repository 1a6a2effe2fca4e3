"""How a call is written on the wire: its request line, its fields, and the framing of its body."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from routing.errors import BadRequest
from routing.http import Body, Headers

LAST_CHUNK: Final = b"0\r\n\r\n"

_LINE: Final = b"%b: %b\r\n"

BREAKS_OUT: Final = "The request has a character that cannot be passed on."
EXPECT_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods that say so when they carry nothing (RFC 9110 section 8.6)."""


@dataclass(slots=True)
class Call:
    """What is sent to a target.

    `path` is the origin-form with its query, the bytes exactly as they go on the wire; the target's base path is put
    before it. `headers` are the end-to-end fields without Host, Connection and framing, and `ready` more of them, as
    `write` has written them, which go before. A `body` of unknown `length` is sent in chunks. `host` None is the
    target's own. `patience` is how many milliseconds the gateway will still wait, if the target is to know:
    relative, since clocks differ.
    """

    method: str
    path: bytes
    headers: Headers
    body: Body | None
    length: int | None = None
    host: bytes | None = None
    encoded_headers: bytes = b""
    timeout_ms: int | None = None


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
def parse_origin(url: str) -> Origin:
    """The origin of a target's address, which is already validated."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    return Origin(parts.hostname or "", port, tls, parts.netloc.encode(), parts.path.rstrip("/").encode())


def encode_request_head(to: Origin, call: Call) -> bytes:
    """The request up to its body. Raises BadRequest when a part of it would break out of its place."""
    method, host = call.method.encode("ascii", "replace"), call.host or to.authority
    begun = b"%b %b%b HTTP/1.1\r\nhost: %b\r\n" % (method, to.base, call.path, host)
    if begun.count(b" ") != 3:
        raise BadRequest(BREAKS_OUT)
    return b"".join(
        (
            _with_lines(begun, 2),
            call.encoded_headers,
            encode_headers(call.headers),
            _waits(call),
            framing_header(call),
            b"\r\n",
        )
    )


def encode_headers(headers: Headers) -> bytes:
    """Fields as they go on the wire. Raises BadRequest, as `head`."""
    return _with_lines(encode_trusted_headers(headers), len(headers)) if headers else b""


def encode_trusted_headers(headers: Headers) -> bytes:
    """The same for fields that are known to be one line each."""
    return b"".join(map(_LINE.__mod__, headers))


def _waits(call: Call) -> bytes:
    return b"" if call.timeout_ms is None else b"x-gateway-timeout-ms: %d\r\n" % call.timeout_ms


def framing_header(call: Call) -> bytes:
    """The field that says where the body ends (RFC 9112 section 6), if there must be one."""
    if call.body is None:
        return b"content-length: 0\r\n" if call.length == 0 or call.method in EXPECT_CONTENT else b""
    if call.length is None:
        return b"transfer-encoding: chunked\r\n"
    return b"content-length: %d\r\n" % call.length


def encode_chunk(data: bytes) -> bytes:
    """A piece of a body in the chunked coding; it must not be empty, for that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _with_lines(text: bytes, count: int) -> bytes:
    """The text, if its only line ends are ours: one pass of C for each of the three characters that smuggle."""
    if text.count(b"\r") != count or text.count(b"\n") != count or b"\0" in text:
        raise BadRequest(BREAKS_OUT)
    return text
