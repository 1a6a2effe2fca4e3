"""Parses what a client sends into requests: llhttp finds the fields and bodies, and rejects malformed input.

llhttp is given one message at a time, from the first byte of its request line. What it makes of a request line depends
on its list of methods and other protocols (RTSP, ICE); `request_line` decides on that instead.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import httptools

from routing.errors import BadRequest, GatewayError, HeadersTooLarge, TargetTooLong
from routing.http import Headers
from routing.http1.chunk_scanner import ChunkScanner
from routing.http1.head_cache import RequestHead
from routing.http1.request_body import RequestBody
from routing.http1.request_line import PARSED_METHODS, find_method, parse_target
from routing.messages.validation import validate_transfer_codings

MAX_HEAD_BYTES: Final = 65_536
_END: Final = b"\r\n\r\n"
_STAND_IN: Final = b"PUT"
"""The method that llhttp is given in place of one that it may not know. None of its rules depends on it."""

MAX_REQUESTS: Final = 8
"""The most that one `feed` parses: with their responses, about a millisecond of work."""

ParsedRequest = tuple[RequestHead, RequestBody | None]
"""A request whose head is complete, and its body, which may still be arriving."""


class ParseResult(NamedTuple):
    """What one `feed` parsed.

    `requests`: those whose head ended in the data. `error`: why the rest is invalid. `remainder`: the unparsed bytes
    after the last request, if that requests an upgrade. `is_single`: the data is exactly one request without a body.
    `unparsed`: what is to be fed next, where there are more requests than MAX_REQUESTS, or many small chunks.
    """

    requests: list[ParsedRequest]
    error: GatewayError | None = None
    remainder: bytes | None = None
    is_single: bool = False
    unparsed: bytes = b""


class RequestParser:
    """`idle`: the next byte starts a request. `body` is the body that is arriving; `make_body` creates it."""

    def __init__(self, make_body: Callable[[RequestHead], RequestBody]) -> None:
        self.idle = True
        self.body: RequestBody | None = None
        self._make_body = make_body
        self._parser = httptools.HttpRequestParser(self)
        self._requests: list[ParsedRequest] = []
        self._started = 0
        self._head_size = 0
        self._between = True
        self._held = b""
        """The start of a request line that is incomplete."""
        self._tail = b""
        """The last bytes of an incomplete head that llhttp was given."""
        self._unparsed = b""
        self._chunks: ChunkScanner | None = None
        self._method = b""
        self._url = b""
        self._headers: Headers = []

    @property
    def has_partial_head(self) -> bool:
        return not self.idle and self.body is None

    def feed(self, data: bytes) -> ParseResult:
        was_idle, self._started = self.idle, 0
        error: GatewayError | None = None
        remainder = None
        try:
            remainder = self._feed(self._held + data if self._held else data)
        except GatewayError as invalid:
            error = invalid
        except httptools.HttpParserError as invalid:
            raised = invalid.__context__
            error = raised if isinstance(raised, GatewayError) else BadRequest(f"malformed request: {invalid}")
        self.idle = self._between and not self._held
        requests, self._requests = self._requests, []
        unparsed, self._unparsed = self._unparsed, b""
        if error is None and self.has_partial_head:
            error = self._too_large() if self._head_size > MAX_HEAD_BYTES else None
        is_single = was_idle and self.idle and self._started == len(requests) == 1 and requests[0][1] is None
        return ParseResult(requests, error, remainder, is_single and error is None and remainder is None, unparsed)

    def _feed(self, data: bytes) -> bytes | None:
        """Give llhttp one piece at a time, none of them longer than a message.

        Returns what follows a request for an upgrade. Raises GatewayError or HttpParserError.
        """
        position, size, self._held = 0, len(data), b""
        while position < size:
            stand_in = b""
            if self._between:
                position = _skip_line_breaks(data, position)
                method_end = self._begin(data, position)
                if method_end is None:
                    return None
                if self._method not in PARSED_METHODS:
                    stand_in, position = _STAND_IN, method_end
            chunks, end = self._chunks, self._end_of_piece(data, position)
            piece = data if end - position == size else stand_in + data[position:end]
            try:
                self._parser.feed_data(piece)
            except httptools.HttpParserUpgrade:
                return data[end:]
            if self.body is None and not self._between:  # the head is incomplete
                self._head_size += end - position
                self._tail = (self._tail + piece[-3:])[-3:]
            position = end
            if self._is_enough(chunks):
                self._unparsed = data[end:]
                return None
        return None

    def _is_enough(self, chunks: ChunkScanner | None) -> bool:
        """Whether to parse the rest later. `chunks` is the scanner of the last piece."""
        if self._between:
            return len(self._requests) >= MAX_REQUESTS
        return chunks is not None and self._chunks is chunks

    def _begin(self, data: bytes, position: int) -> int | None:
        """Begin a message. Returns the end of its method; None if its request line is incomplete, which is held."""
        found = find_method(data, position) if position < len(data) else None
        if found is None:
            self._held = data[position:]
            self._head_size = len(self._held)
            return None
        self._method, method_end = found
        self._between = False
        self._head_size, self._tail = 0, b""
        return method_end

    def _end_of_piece(self, data: bytes, position: int) -> int:
        """Where the current head or body ends in `data`, or its length."""
        if self._chunks is not None:
            return self._chunks.find_end(data, position)
        if self.body is not None:
            return min(len(data), position + (self.body.remaining or 0))
        tail = self._tail
        if tail and (end := (tail + data[position : position + 3]).find(_END)) >= 0:
            return position + end + len(_END) - len(tail)
        end = data.find(_END, position)
        return len(data) if end < 0 else end + len(_END)

    # Callbacks of httptools.HttpRequestParser.

    def on_message_begin(self) -> None:
        """A message that `_begin` has not seen would be taken for one with the method of the last."""
        if self._between:
            raise BadRequest("malformed request: the end of its body is ambiguous")
        self._started += 1
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.body is None:  # trailer fields are dropped: they could bypass the checks (RFC 9110 section 6.5.1)
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        head = self._head()
        if head.has_body and not head.upgrade:
            self.body = body = self._make_body(head)
            self._chunks = ChunkScanner() if body.remaining is None else None
        self._requests.append((head, self.body))

    def on_body(self, data: bytes) -> None:
        if self.body is not None:
            self.body.feed(data)

    def on_message_complete(self) -> None:
        self._between = True
        self._head_size = 0
        self._chunks = None
        body, self.body = self.body, None
        if body is not None:
            body.feed_eof()

    def _head(self) -> RequestHead:
        """Raises BadRequest or Unimplemented."""
        parser, method = self._parser, self._method.decode()
        version = parser.get_http_version()
        target, headers = parse_target(method, self._url, version, self._headers)
        keep_alive = parser.should_keep_alive()
        head = RequestHead(method, target, version, headers, keep_alive=keep_alive)
        head.has_empty_query = not head.query and self._url.partition(b"#")[0].endswith(b"?")
        if b"transfer-encoding" in head.fields:
            validate_transfer_codings(headers)
            head.keep_alive = keep_alive and version == "1.1"  # RFC 9112 section 6.1
        return head

    def _too_large(self) -> GatewayError:
        if self._headers:
            return HeadersTooLarge(f"the head of the request is over {MAX_HEAD_BYTES} bytes")
        return TargetTooLong(f"the target of the request is over {MAX_HEAD_BYTES} bytes")


def _skip_line_breaks(data: bytes, position: int) -> int:
    """Empty lines before a request line are ignored (RFC 9112 section 2.2)."""
    if data[position : position + 1] in (b"\r", b"\n"):
        return len(data) - len(data[position:].lstrip(b"\r\n"))
    return position
