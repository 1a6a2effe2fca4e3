"""Parses what a client sends into requests: llhttp finds their boundaries and rejects malformed input."""

from collections.abc import Callable
from typing import Final, NamedTuple

import httptools

from routing.errors import BadRequest, GatewayError, HeadersTooLarge, TargetTooLong
from routing.http import Headers
from routing.http1.head_cache import RequestHead
from routing.http1.request_body import RequestBody

MAX_HEAD_BYTES: Final = 65_536
SUPPORTED_VERSIONS: Final = ("1.1", "1.0")

ParsedRequest = tuple[RequestHead, RequestBody | None]
"""A request whose head is complete, and its body, which may still be arriving."""


class ParseResult(NamedTuple):
    """What one `feed` parsed.

    `requests`: those whose head ended in the data. `error`: why the rest is invalid. `remainder`: the unparsed bytes
    after the last request, if that requests an upgrade. `is_single`: the data is exactly one request without a body.
    """

    requests: list[ParsedRequest]
    error: GatewayError | None = None
    remainder: bytes | None = None
    is_single: bool = False


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
        self._url = b""
        self._headers: Headers = []

    def feed(self, data: bytes) -> ParseResult:
        was_idle, self._started = self.idle, 0
        error: GatewayError | None = None
        remainder = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            remainder = data[upgrade.args[0] :]
        except httptools.HttpParserError as invalid:
            error = BadRequest(f"malformed request: {invalid}")
        requests, self._requests = self._requests, []
        if error is None and not self.idle and self.body is None:
            self._head_size += len(data)
            error = self._too_large() if self._head_size > MAX_HEAD_BYTES else None
        if requests and requests[-1][0].version not in SUPPORTED_VERSIONS:
            head, _ = requests.pop()
            error = BadRequest(f"HTTP/{head.version} is not supported")
        is_single = was_idle and self.idle and self._started == len(requests) == 1 and requests[0][1] is None
        return ParseResult(requests, error, remainder, is_single and error is None and remainder is None)

    # Callbacks of httptools.HttpRequestParser.

    def on_message_begin(self) -> None:
        self._started += 1
        self.idle = False
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        head = self._head()
        # A new list for trailer fields: merged into the head, they could bypass its checks (RFC 9110 section 6.5.1).
        self._headers = []
        self.body = self._make_body(head) if head.has_body and not head.upgrade else None
        self._requests.append((head, self.body))

    def on_body(self, data: bytes) -> None:
        if self.body is not None:
            self.body.feed(data)

    def on_message_complete(self) -> None:
        self.idle = True
        self._head_size = 0
        body, self.body = self.body, None
        if body is not None:
            body.feed_eof()

    def _head(self) -> RequestHead:
        parser = self._parser
        target, headers = self._target()
        keep_alive = parser.should_keep_alive()
        return RequestHead(
            parser.get_method().decode(), target, parser.get_http_version(), headers, keep_alive=keep_alive
        )

    def _target(self) -> tuple[tuple[bytes, bytes], Headers]:
        """Path and query, and the fields. An absolute-form target's host replaces Host (RFC 9112 section 3.2.2)."""
        url, headers = self._url.partition(b"#")[0], self._headers
        if b"://" in url[:8]:
            parsed = httptools.parse_url(url)
            host = parsed.host + (b":%d" % parsed.port if parsed.port else b"")
            headers = [(b"host", host), *(field for field in headers if field[0] != b"host")]
            return (parsed.path or b"/", parsed.query or b""), headers
        path, _, query = url.partition(b"?")
        return (path, query), headers

    def _too_large(self) -> GatewayError:
        if self._headers:
            return HeadersTooLarge(f"the head of the request is over {MAX_HEAD_BYTES} bytes")
        return TargetTooLong(f"the target of the request is over {MAX_HEAD_BYTES} bytes")
