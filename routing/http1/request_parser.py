"""What a client sends, as requests: llhttp finds where each begins and ends, and lets nothing doubtful pass."""

from collections.abc import Callable
from typing import Final, NamedTuple

import httptools

from routing.errors import BadRequest, GatewayError, HeadersTooLarge, TargetTooLong
from routing.http import Headers
from routing.http1.head_cache import RequestHead
from routing.http1.request_body import RequestBody

HEAD_BYTES: Final = 65_536
"""What is read of a head that does not end."""
SPOKEN: Final = ("1.1", "1.0")

ParsedRequest = tuple[RequestHead, RequestBody | None]
"""A request whose head has come, and its body, if it has one, as far as that has."""


class ParseResult(NamedTuple):
    """What some bytes came to: the requests that began in them, and why the rest was not understood. `rest` follows the
    last of them, which would speak another protocol. `is_one`: they are one whole request without a body.
    """

    found: list[ParsedRequest]
    error: GatewayError | None = None
    rest: bytes | None = None
    is_one: bool = False


class RequestParser:
    """`between`: what comes next is a new request. `body` is the one that is arriving; `incoming` makes it."""

    def __init__(self, incoming: Callable[[RequestHead], RequestBody]) -> None:
        self.between = True
        self.body: RequestBody | None = None
        self._incoming = incoming
        self._parser = httptools.HttpRequestParser(self)
        self._found: list[ParsedRequest] = []
        self._begun = 0
        self._size = 0
        self._url = b""
        self._headers: Headers = []

    def feed(self, data: bytes) -> ParseResult:
        was_between, self._begun = self.between, 0
        error: GatewayError | None = None
        rest = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except httptools.HttpParserError as broken:
            error = BadRequest(f"the request breaks the protocol: {broken}")
        found, self._found = self._found, []
        if error is None and not self.between and self.body is None:
            self._size += len(data)
            error = self._oversized() if self._size > HEAD_BYTES else None
        if found and found[-1][0].version not in SPOKEN:
            head, _ = found.pop()
            error = BadRequest(f"HTTP/{head.version} is not spoken here")
        is_one = was_between and self.between and self._begun == len(found) == 1 and found[0][1] is None
        return ParseResult(found, error, rest, is_one and error is None and rest is None)

    # What the parser calls.

    def on_message_begin(self) -> None:
        self._begun += 1
        self.between = False
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        head = self._head()
        # Fields after the body are another list's: merged, they could say what was refused before (section 6.5.1).
        self._headers = []
        self.body = self._incoming(head) if head.has_body and not head.upgrade else None
        self._found.append((head, self.body))

    def on_body(self, data: bytes) -> None:
        if self.body is not None:
            self.body.feed(data)

    def on_message_complete(self) -> None:
        self.between = True
        self._size = 0
        body, self.body = self.body, None
        if body is not None:
            body.end()

    def _head(self) -> RequestHead:
        parser = self._parser
        target, headers = self._target()
        keep_alive = parser.should_keep_alive()
        return RequestHead(
            parser.get_method().decode(), target, parser.get_http_version(), headers, keep_alive=keep_alive
        )

    def _target(self) -> tuple[tuple[bytes, bytes], Headers]:
        """Path and query, and the fields: a host in the target is the one that counts (RFC 9112 section 3.2.2)."""
        url, headers = self._url.partition(b"#")[0], self._headers
        if b"://" in url[:8]:
            parsed = httptools.parse_url(url)
            named = parsed.host + (b":%d" % parsed.port if parsed.port else b"")
            headers = [(b"host", named), *(field for field in headers if field[0] != b"host")]
            return (parsed.path or b"/", parsed.query or b""), headers
        path, _, query = url.partition(b"?")
        return (path, query), headers

    def _oversized(self) -> GatewayError:
        if self._headers:
            return HeadersTooLarge(f"the request's head is over {HEAD_BYTES} bytes")
        return TargetTooLong(f"the request's target is over {HEAD_BYTES} bytes")
