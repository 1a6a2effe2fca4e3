"""An answer as its bytes come in. No I/O: it is fed, and says what it has understood so far.

llhttp does the parsing, in its strict mode: bare line feeds, folded fields, a Content-Length that is repeated or stands
beside Transfer-Encoding are faults (RFC 9112 section 6.3). What it leaves to its user is bounded and refused here.
"""

from typing import Any, Final

from httptools import HttpParserError, HttpResponseParser

from routing.backend.head_cache import ResponseHead, ResponseHeadCache
from routing.errors import BadGateway
from routing.http import Headers

MAX_HEAD: Final = 64 * 1024
"""Bytes of an answer that may pass without one of its body: fields, interim answers, chunk extensions, trailers."""
MAX_FIELDS: Final = 200

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
SWITCHING_PROTOCOLS: Final = 101
WITHOUT_BODY: Final = frozenset({204, 304})

MALFORMED: Final = "The service's answer is not valid HTTP."
TOO_LONG: Final = "The service's answer has too many or too long header fields."
SURPLUS: Final = "There is more after the answer."
CUT: Final = "The service closed the connection before the end of its answer."


class ConnectionClosedEarly(BadGateway):
    """The connection was closed before any byte of the answer: an idle one may just have been too old."""


class ResponseParser:
    """One final answer, after the interim ones before it. Every method that takes bytes may raise BadGateway.

    `length` is the body's as announced, if it was. `chunks` are the pieces of the body not yet taken and `size` their
    bytes; `reusable` is whether the connection may bear another answer once this one is `complete`. `head` is what it
    shares with others like it.
    """

    __slots__ = (
        "_chunked",
        "_fields",
        "_framed",
        "_head_only",
        "_heads",
        "_parser",
        "_spent",
        "chunks",
        "complete",
        "head",
        "headed",
        "headers",
        "length",
        "reusable",
        "size",
        "status",
    )

    def __init__(self, method: str, heads: ResponseHeadCache) -> None:
        self.head: ResponseHead | None = None
        self.status = 0
        self.headers: Headers = []
        self._fields: Headers = []
        self.length: int | None = None
        self.chunks: list[bytes] = []
        self.size = 0
        self.headed = False
        self.complete = False
        self.reusable = False
        self._head_only = method == "HEAD"
        self._heads = heads
        self._framed = False
        self._chunked = False
        self._spent = 0
        self._parser: Any = None

    @property
    def begun(self) -> bool:
        """Whether any byte has come."""
        return self.headed or self._spent > 0

    def feed(self, data: bytes) -> None:
        """Understands some more of it."""
        if self._parser is None:
            if self._is_known(data):
                return
            self._parser = HttpResponseParser(self)
            self._parse(data)
            if self.reusable and self.complete and self.size == self.length:
                self._heads.put(data, ResponseHead(self.status, self.headers, self.length))
        else:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        self._spent += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self.reusable = False
            if not self.complete:
                raise BadGateway(MALFORMED) from error
        if self._spent > MAX_HEAD and not self.complete:
            raise BadGateway(TOO_LONG)

    def _is_known(self, data: bytes) -> bool:
        """Take a whole answer whose head came before as what that was."""
        known = None if self.complete or self._head_only else self._heads.of(data)
        if known is None:
            return False
        head, body = known
        self.head, self.status, self.headers, self.length = head, head.status, head.headers, head.length
        self.chunks, self.size = [body] if body else [], head.length
        self.headed = self.complete = self.reusable = True
        return True

    def end(self) -> None:
        """Nothing follows: a body that never said how long it is ends here, anything else is cut (section 8)."""
        if not self.begun:
            raise ConnectionClosedEarly(CUT)
        if not self.headed or self._framed:
            raise BadGateway(CUT)
        self.complete = True

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        chunks, self.chunks, self.size = self.chunks, [], 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def release(self) -> None:
        """Lets the parser go, which would otherwise wait with this object for the garbage collector."""
        self._parser = None

    def on_message_begin(self) -> None:
        """Stops at what follows a complete answer: nobody asked for it, and nothing of it is anybody's."""
        if self.complete:
            raise ValueError(SURPLUS)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def _frame(self) -> None:
        """Chunked, alone and in HTTP/1.1, is the only transfer coding there is (RFC 9112 sections 6.1 and 7)."""
        fields = dict(self.headers)
        if b"transfer-encoding" in fields:
            framing = [value for name, value in self.headers if name in FRAMING]
            if len(framing) != 1 or framing[0].lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                raise ValueError("the transfer coding is not understood")
            self._chunked = self._framed = True
        elif b"content-length" in fields:
            self._framed = True
            self.length = int(fields[b"content-length"])

    def on_headers_complete(self) -> None:
        # Fields after the body go to another list, and no further: they belong to this hop.
        self.headers, self._fields = self._fields, []
        if len(self.headers) > MAX_FIELDS:
            raise ValueError(TOO_LONG)
        self._frame()
        status = self._parser.get_status_code()
        if status < 200:
            self._pass_over(status)
            return
        if status > 599:
            raise ValueError("there is no such status")
        if self._spent > MAX_HEAD and sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD:
            raise ValueError(TOO_LONG)
        self.status = status
        self.headed = True
        self.reusable = self._parser.should_keep_alive()
        self.complete = self._head_only or status in WITHOUT_BODY

    def _pass_over(self, status: int) -> None:
        """An interim answer, of which only a switch of protocols, never asked for here, is meant for us."""
        if status < 100 or status == SWITCHING_PROTOCOLS:
            raise ValueError("the status was not asked for")
        self.headers = []
        self.length = None
        self._framed = self._chunked = False

    def on_body(self, data: bytes) -> None:
        if self.complete:
            raise ValueError(SURPLUS)
        self._spent = 0
        self.chunks.append(data)
        self.size += len(data)

    def on_message_complete(self) -> None:
        if not self.headed:
            return
        if self.complete and self._chunked:
            raise ValueError(SURPLUS)  # the last chunk of an answer that has none
        self.complete = True
