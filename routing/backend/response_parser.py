"""An incremental parser for one response. It does no I/O: it is fed bytes and holds what it has parsed so far.

llhttp parses in its strict mode: bare line feeds, folded fields, a repeated Content-Length, or one beside
Transfer-Encoding are errors (RFC 9112 section 6.3; ADR 63). Spaces after the size of a chunk are none: RFC 9112 section
7.1.1 allows them before extensions, and some servers pad the size with them. Size limits and other checks that llhttp
leaves out are made here.
"""

from math import inf
from typing import Any, Final

from httptools import HttpParserError, HttpResponseParser

from routing.backend.head_cache import ResponseHead, ResponseHeadCache
from routing.backend.keep_alive import idle_limit
from routing.backend.reasons import CLOSED_BEFORE_RESPONSE, CLOSED_DURING_RESPONSE, line_end_fault
from routing.errors import BadGateway
from routing.http import Headers, InterimSink

MAX_OVERHEAD_BYTES: Final = 64 * 1024
"""Bytes between two pieces of body data: header fields, interim responses, chunk extensions, trailer fields."""
MAX_FIELDS: Final = 200

MAX_INTERIM: Final = 32
"""Interim responses passed on for each request; further ones are dropped. Their fields together are limited, too."""

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
CONTINUE: Final = 100
SWITCHING_PROTOCOLS: Final = 101
NO_CONTENT: Final = 204
WITHOUT_BODY: Final = frozenset({204, 304})

FIELDS_TOO_LARGE: Final = "too many or too large header fields"
EXTRA_DATA: Final = "extra data after the response"


class ConnectionClosedEarly(BadGateway):
    """The connection was closed before any byte of the response: a reused one may have been idle for too long."""


class ResponseParser:
    """One final response and the interim ones before it. Every method that takes bytes may raise BadGateway.

    `length` is the body's announced length, if any. `chunks` are the pieces of the body not yet taken and `size` their
    total; `reusable` tells whether the connection persists once this response is `complete`, and `idle_limit` for how
    many seconds it may then be idle. `announces_too_much`: by its method or status it has no body, but it has the
    length of one. A server that sends the body all the same may send it later, where the next response is expected.
    `head` is the cached head, if it was one. `on_interim` receives interim responses as they are parsed; without it
    they are dropped.
    """

    __slots__ = (
        "_chunked",
        "_fields",
        "_framed",
        "_head_cache",
        "_interim_count",
        "_interim_size",
        "_is_head_request",
        "_on_interim",
        "_overhead",
        "_parser",
        "announces_too_much",
        "chunks",
        "complete",
        "head",
        "head_complete",
        "headers",
        "idle_limit",
        "length",
        "reusable",
        "size",
        "status",
    )

    def __init__(self, method: str, head_cache: ResponseHeadCache, on_interim: InterimSink | None = None) -> None:
        self.head: ResponseHead | None = None
        self.status = 0
        self.headers: Headers = []
        self._fields: Headers = []
        self.length: int | None = None
        self.chunks: list[bytes] = []
        self.size = 0
        self.head_complete = False
        self.complete = False
        self.reusable = False
        self.announces_too_much = False
        self.idle_limit = inf
        self._on_interim = on_interim
        self._interim_count = self._interim_size = 0
        self._is_head_request = method == "HEAD"
        self._head_cache = head_cache
        self._framed = False
        self._chunked = False
        self._overhead = 0
        self._parser: Any = None

    @property
    def started(self) -> bool:
        """Whether any byte has been received."""
        return self.head_complete or self._overhead > 0

    def feed(self, data: bytes) -> None:
        """Parse more bytes."""
        if self._parser is None:
            if self._use_cached_head(data):
                return
            self._parser = HttpResponseParser(self)
            self._parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
            self._parse(data)
            if self.reusable and self.complete and self.size == self.length:
                self._head_cache.put(data, ResponseHead(self.status, self.headers, self.length, self.idle_limit))
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self.reusable = False
            if not self.complete:
                # A callback's own error is the context of llhttp's, whose text is about callbacks.
                text = str(error.__context__ or line_end_fault(str(error), data) or error)
                raise BadGateway(f"protocol error: {text}") from error
        if self._overhead > MAX_OVERHEAD_BYTES and not self.complete:
            raise BadGateway(f"protocol error: {FIELDS_TOO_LARGE}")

    def _use_cached_head(self, data: bytes) -> bool:
        """If `data` is one complete response with a cached head, take it without parsing."""
        cached = None if self.complete or self._is_head_request else self._head_cache.exact(data)
        if cached is None:
            return False
        head, body = cached
        self.head, self.status, self.headers, self.length = head, head.status, head.headers, head.length
        self.chunks, self.size = [body] if body else [], head.length
        self.head_complete = self.complete = self.reusable = True
        self.idle_limit = head.idle_limit
        return True

    def end(self) -> None:
        """The connection was closed: it delimits a body without framing, anything else is incomplete (section 8)."""
        if not self.started:
            raise ConnectionClosedEarly(CLOSED_BEFORE_RESPONSE)
        if not self.head_complete or self._framed:
            raise BadGateway(CLOSED_DURING_RESPONSE)
        self.complete = True

    def take(self) -> bytes:
        """The body data received since the last call."""
        chunks, self.chunks, self.size = self.chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self) -> None:
        """Drop the llhttp parser and the sink of interim responses. They refer to this parser and to its request: only
        the garbage collector could free such cycles.
        """
        self._parser = self._on_interim = None

    def on_message_begin(self) -> None:
        """Stop at data after a complete response: it belongs to no request."""
        if self.complete:
            raise ValueError(EXTRA_DATA)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def _frame(self) -> None:
        """The only supported transfer coding is chunked, alone and in HTTP/1.1 (RFC 9112 sections 6.1 and 7)."""
        fields = dict(self.headers)
        if b"keep-alive" in fields:
            self.idle_limit = idle_limit(fields[b"keep-alive"])
        if b"transfer-encoding" in fields:
            framing = [value for name, value in self.headers if name in FRAMING]
            if len(framing) != 1 or framing[0].lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                raise ValueError("unsupported transfer coding")
            self._chunked = self._framed = True
        elif b"content-length" in fields:
            self._framed = True
            value = fields[b"content-length"]
            self.length = int(value)
            if value[:1] == b"0" and value != b"0":  # RFC 9110 section 8.6 allows leading zeros; the encoder does not
                self._set_length(b"%d" % self.length)

    def _set_length(self, value: bytes | None) -> None:
        """Replace Content-Length, or remove it."""
        headers = [pair for pair in self.headers if pair[0] != b"content-length"]
        self.headers = headers if value is None else [*headers, (b"content-length", value)]

    def on_headers_complete(self) -> None:
        # Trailer fields go to another list and are dropped.
        self.headers, self._fields = self._fields, []
        if len(self.headers) > MAX_FIELDS:
            raise ValueError(FIELDS_TOO_LARGE)
        self._frame()
        status = self._parser.get_status_code()
        if status < 200:
            self._end_interim(status)
            return
        if status > 599:
            raise ValueError(f"the status {status} is not valid (RFC 9110 section 15)")
        if self._overhead > MAX_OVERHEAD_BYTES and _size(self.headers) > MAX_OVERHEAD_BYTES:
            raise ValueError(FIELDS_TOO_LARGE)
        self.complete = self._is_head_request or status in WITHOUT_BODY
        self.announces_too_much = self.complete and self._framed and self.length != 0
        if status == NO_CONTENT and self.length is not None:  # which it must not have (RFC 9110 section 8.6)
            self._set_length(None)
            self.length = None
        self.status = status
        self.head_complete = True
        self.reusable = self._parser.should_keep_alive()

    def _end_interim(self, status: int) -> None:
        """Pass an interim response on, but not 100 (Continue), which the gateway sends itself.

        101 is an error, since this client sends no Upgrade.
        """
        if status < 100 or status == SWITCHING_PROTOCOLS:
            raise ValueError(f"the status {status} is not valid here (RFC 9110 section 15)")
        self._interim_count += 1
        self._interim_size += _size(self.headers)
        if self._interim_size > MAX_OVERHEAD_BYTES:
            raise ValueError(FIELDS_TOO_LARGE)
        headers, self.headers = self.headers, []
        if self._on_interim is not None and status != CONTINUE and self._interim_count <= MAX_INTERIM:
            self._on_interim(status, headers)
        self.length = None
        self._framed = self._chunked = False

    def on_body(self, data: bytes) -> None:
        if self.complete:
            raise ValueError(EXTRA_DATA)
        self._overhead = 0
        self.chunks.append(data)
        self.size += len(data)

    def on_message_complete(self) -> None:
        if not self.head_complete:
            return
        if self.complete and self._chunked:
            raise ValueError(EXTRA_DATA)  # a last chunk after a response that has no body
        self.complete = True


def _size(headers: Headers) -> int:
    """Bytes of the field lines."""
    return sum(len(name) + len(value) + 4 for name, value in headers)
