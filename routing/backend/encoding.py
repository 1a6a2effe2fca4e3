"""Encoding of requests to backends: the request line, the header fields, and the framing of the body."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit

from routing.errors import BadRequest
from routing.http import Body, Headers, InterimSink
from routing.tls.policy import TlsPolicy

LAST_CHUNK: Final = b"0\r\n\r\n"

_FIELD_LINE: Final = b"%b: %b\r\n"

INVALID_CHARACTER: Final = "The request contains a character that cannot be forwarded."
EXPECT_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods that send `Content-Length: 0` when they have no body (RFC 9110 section 8.6)."""


class BodySource(Protocol):
    """Where a body comes from: the client. `waited` is the seconds it has been waited for. `restart` returns the body
    from its beginning, or None if it is not available any more.
    """

    @property
    def waited(self) -> float: ...

    def restart(self) -> Body | None: ...


@dataclass(slots=True)
class Call:
    """A request to a target.

    `path` is the origin-form with its query, sent as is after the target's base path; without a path, the target's own
    is sent; or `*`. `headers` are end-to-end fields without Host, Connection and framing; `encoded_headers` are more of
    them, already encoded by `encode_headers`, and are sent first. A `body` of unknown `length` is sent in chunks.
    `host` None is the target's own. `timeout_ms`, sent as X-Gateway-Timeout-Ms, is how long the gateway will wait; it
    is a duration since clocks differ. `source` is where the body comes from, if that may be slow.
    `on_interim` receives interim responses; without it they are dropped. `binds_connection`: its credential may
    authenticate the connection and all that is sent on it later, which then is for nobody else.
    """

    method: str
    path: bytes
    headers: Headers
    body: Body | None
    length: int | None = None
    host: bytes | None = None
    encoded_headers: bytes = b""
    timeout_ms: int | None = None
    source: BodySource | None = None
    on_interim: InterimSink | None = None
    binds_connection: bool = False


@dataclass(frozen=True, slots=True)
class TargetOrigin:
    """The server of a target. `path` is that of the target's URL, and `base` the same without a slash at its end."""

    host: str
    port: int
    tls: bool
    authority: bytes
    base: bytes
    path: bytes

    def target(self, path: bytes) -> bytes:
        """The request target for a path within the service, with its query. An empty path is the URL's own; `*` is for
        the server, not for a path of it.
        """
        if path[:1] == b"/":
            return self.base + path
        return path if path == b"*" else self.path + path

    def server_name(self, policy: TlsPolicy | None) -> str | None:
        """The name to verify the certificate of, and for SNI: without the dot at the end of an absolute name (RFC 6066
        section 3). None without TLS.
        """
        if not self.tls:
            return None
        return (policy.server_name if policy else "") or self.host.removesuffix(".")

    @property
    def key(self) -> tuple[str, int, bool]:
        """Targets with the same key share connections, unless they have TLS settings that differ."""
        return self.host, self.port, self.tls


@lru_cache(maxsize=4096)
def parse_origin(url: str) -> TargetOrigin:
    """The origin of a target's URL, which has been validated."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    path = parts.path.encode()
    return TargetOrigin(parts.hostname or "", port, tls, parts.netloc.encode(), path.rstrip(b"/"), path or b"/")


def encode_request_head(origin: TargetOrigin, call: Call) -> bytes:
    """The request up to its body. Raises BadRequest if a value would break the syntax of its line."""
    method, host = call.method.encode("ascii", "replace"), call.host or origin.authority
    start = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, origin.target(call.path), host)
    if start.count(b" ") != 3:
        raise BadRequest(INVALID_CHARACTER)
    return b"".join(
        (
            _check_lines(start, 2),
            call.encoded_headers,
            encode_headers(call.headers),
            timeout_header(call),
            framing_header(call),
            b"\r\n",
        )
    )


def encode_headers(headers: Headers) -> bytes:
    """Field lines for these fields. Raises BadRequest like `encode_request_head`."""
    return _check_lines(encode_trusted_headers(headers), len(headers)) if headers else b""


def encode_trusted_headers(headers: Headers) -> bytes:
    """Field lines for fields whose values are known to contain no line breaks."""
    return b"".join(map(_FIELD_LINE.__mod__, headers))


def timeout_header(call: Call) -> bytes:
    return b"" if call.timeout_ms is None else b"x-gateway-timeout-ms: %d\r\n" % call.timeout_ms


def framing_header(call: Call) -> bytes:
    """The field that delimits the body (RFC 9112 section 6), if one is needed."""
    if call.body is None:
        return b"content-length: 0\r\n" if call.length == 0 or call.method in EXPECT_CONTENT else b""
    if call.length is None:
        return b"transfer-encoding: chunked\r\n"
    return b"content-length: %d\r\n" % call.length


def encode_chunk(data: bytes) -> bytes:
    """A chunk of the chunked coding. `data` must not be empty: an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _check_lines(text: bytes, count: int) -> bytes:
    """Return `text` if it has exactly `count` line breaks and no NUL; three C-level scans prevent request smuggling."""
    if text.count(b"\r") != count or text.count(b"\n") != count or b"\0" in text:
        raise BadRequest(INVALID_CHARACTER)
    return text
