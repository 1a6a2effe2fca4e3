"""Request heads, and a cache of them: identical bytes are parsed once.

A second index is by the fields alone, because most clients send the same ones with every request line.
"""

import re
from collections.abc import Sequence
from typing import Final

from resilience.memo import TwoGenerationMemo
from routing.authentication.key_fields import has_key_field, with_api_key
from routing.http import Header, Headers, Request, SharedFields, SharedHead, connection_options, first_values, joined

MAX_CACHED_BYTES: Final = 2_048
"""The longest head that is cached, in bytes. With GENERATION_SIZE it bounds the memory used."""
GENERATION_SIZE: Final = 2_048
"""Heads in one of the memo's two generations."""
_REQUEST_LINE: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) "
    rb"(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)(?:\?([A-Za-z0-9._~!$&'()*+,;=:@%/?-]*))? HTTP/1\.1"
)
"""An unambiguous request line (RFC 9112 section 3). Any other is left to llhttp."""

_UPGRADE_FIELDS: Final = frozenset({b"upgrade", b"connection", b"http2-settings"})


class RequestHead:
    """The request line and the fields. `keep_alive`: whether the client would use the connection again.

    Requests with the same head share `headers`, which must not be changed, and `shared_head`. A head made from a
    `template` has the same fields as the template and shares `headers`, `fields` and `shared_head.shared_fields`.
    """

    __slots__ = (
        "fields",
        "has_empty_query",
        "headers",
        "keep_alive",
        "method",
        "path",
        "query",
        "shared_head",
        "version",
    )
    shared_head: SharedHead
    fields: dict[bytes, bytes]

    def __init__(
        self,
        method: str,
        target: tuple[bytes, bytes],
        version: str,
        headers: Headers,
        *,
        keep_alive: bool,
        template: "RequestHead | None" = None,
    ) -> None:
        self.method = method
        self.path, self.query = target
        self.has_empty_query = False
        self.version = version
        fields = first_values(headers) if template is None else template.fields
        if template is None and has_key_field(fields):
            headers = with_api_key(headers)
            fields = first_values(headers)
        self.headers, self.fields = headers, fields
        self.keep_alive = keep_alive
        self.shared_head = SharedHead(SharedFields() if template is None else template.shared_head.shared_fields)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 (Continue), beside other expectations or alone. Ignored in HTTP/1.0 (RFC
        9110 section 10.1.1).
        """
        if self.version != "1.1" or b"expect" not in self.fields:
            return False
        expectations = (joined(self.headers, b"expect") or b"").lower().split(b",")
        return any(expectation.strip() == b"100-continue" for expectation in expectations)

    @property
    def has_body(self) -> bool:
        """RFC 9112 section 6.3."""
        return b"transfer-encoding" in self.fields or self.fields.get(b"content-length", b"0").strip(b"0") != b""

    @property
    def upgrade(self) -> bytes:
        """The protocol of the Upgrade field in lower case, or empty. Ignored in HTTP/1.0 (RFC 9110 section 7.8)."""
        if self.version != "1.1":
            return b""
        requested = b"upgrade" in self.fields and b"upgrade" in connection_options(self.headers)
        return self.fields[b"upgrade"].lower() if requested else b""

    def to_request(self, client: str, scheme: str) -> Request:
        # Positional arguments: keywords take half as long again.
        request = Request(
            self.method,
            self.path,
            self.query,
            self.headers,
            client,
            scheme,
            self.version,
            None,
            None,
            self.shared_head,
        )
        request.fields = self.fields
        if self.has_empty_query:
            request.has_empty_query = True
        return request

    def encode(self, *, without: frozenset[bytes] = frozenset(), added: Sequence[Header] = ()) -> bytes:
        """The head as bytes, without the fields named in `without`, and with those in `added`."""
        target = self.path + (b"?" + self.query if self.query or self.has_empty_query else b"")
        fields = [*(field for field in self.headers if field[0] not in without), *added]
        line = b"%b %b HTTP/%b" % (self.method.encode(), target, self.version.encode())
        return b"\r\n".join([line, *map(b": ".join, fields), b"", b""])

    def encode_without_upgrade(self) -> bytes:
        """The head without its request for an upgrade. Of the connection options only `close` is kept."""
        return self.encode(without=_UPGRADE_FIELDS, added=() if self.keep_alive else [(b"connection", b"close")])


class HeadCache:
    """One process's cache of short heads without a body."""

    def __init__(self) -> None:
        self._by_bytes: TwoGenerationMemo[bytes, RequestHead] = TwoGenerationMemo(GENERATION_SIZE)
        self._by_fields: TwoGenerationMemo[bytes, RequestHead] = TwoGenerationMemo(GENERATION_SIZE)

    def exact(self, data: bytes) -> RequestHead | None:
        """The head already parsed from exactly these bytes, or None."""
        return self._by_bytes.young.get(data) or self._by_bytes.get(data)

    def by_fields(self, data: bytes) -> RequestHead | None:
        """The head in `data`, if its fields were parsed before and its request line is unambiguous."""
        end = data.find(b"\r\n")
        template = self._by_fields.get(data[end:])
        line = None if template is None else _REQUEST_LINE.fullmatch(data, 0, end)
        if template is None or line is None:
            return None
        method, path, query = line.groups()
        target = path, query or b""
        head = RequestHead(
            method.decode(), target, "1.1", template.headers, keep_alive=template.keep_alive, template=template
        )
        head.has_empty_query = query == b""
        self._by_bytes.put(data, head)
        return head

    def put(self, data: bytes, head: RequestHead) -> None:
        """Cache `head`, parsed from all of `data`."""
        if len(data) <= MAX_CACHED_BYTES:
            self._by_bytes.put(data, head)
            end = data.find(b"\r\n")
            if _REQUEST_LINE.fullmatch(data, 0, end):
                self._by_fields.put(data[end:], head)
