"""A request's head as it came, and those that came before: the same bytes are the same head, and are parsed once.

So are the same fields behind another request line: most clients send theirs with whatever they ask for.
"""

import re
from collections.abc import Sequence
from typing import Final

from resilience.memo import TwoGenerationMemo
from routing.http import Header, Headers, Request, SharedFields, SharedHead, first_values

MAX_CACHED_BYTES: Final = 2_048
"""Bytes of a head that is remembered: what all of them take is bounded by this."""
GENERATION_SIZE: Final = 2_048
"""Heads in one generation of two."""
_LINE: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) "
    rb"(/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)(?:\?([A-Za-z0-9._~!$&'()*+,;=:@%/?-]*))? HTTP/1\.1"
)
"""A request line about which there are no two opinions (RFC 9112 section 3); any other is llhttp's to judge."""


class RequestHead:
    """What a request says of itself before its body. `persists`: the client would use the connection again.

    Requests with the same head share its `headers`, which nobody changes, and what is `alike` of them. Those with the
    same fields share `headers` too, and are `like` each other.
    """

    __slots__ = ("fields", "headers", "keep_alive", "method", "path", "query", "shared_head", "version")
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
        like: "RequestHead | None" = None,
    ) -> None:
        self.method = method
        self.path, self.query = target
        self.version = version
        self.headers = headers
        self.keep_alive = keep_alive
        self.shared_head = SharedHead(SharedFields() if like is None else like.shared_head.shared_fields)
        self.fields = first_values(headers) if like is None else like.fields

    @property
    def expects(self) -> bool:
        """Whether the client waits to be asked for the body. Of an HTTP/1.0 client it is ignored (RFC 9110 section
        10.1.1).
        """
        return self.version == "1.1" and self.fields.get(b"expect", b"").lower() == b"100-continue"

    @property
    def has_body(self) -> bool:
        """RFC 9112 section 6.3."""
        return b"transfer-encoding" in self.fields or self.fields.get(b"content-length", b"0").strip(b"0") != b""

    @property
    def upgrade(self) -> bytes:
        """What the client would rather speak, in lower case; empty where it says nothing, or speaks HTTP/1.0, which
        cannot (RFC 9110 section 7.8).
        """
        if self.version != "1.1":
            return b""
        options = self.fields.get(b"connection", b"").lower()
        return self.fields.get(b"upgrade", b"").lower() if b"upgrade" in options else b""

    def request(self, client: str, scheme: str) -> Request:
        # By position: by name it would take half as long again.
        return Request(
            self.method,
            self.path,
            self.query,
            self.headers,
            client,
            scheme,
            self.version,
            None,
            None,
            self.fields,
            self.shared_head,
        )

    def written(self, *, without: frozenset[bytes] = frozenset(), added: Sequence[Header] = ()) -> bytes:
        """The head as bytes again, but for some of its fields, and with some others."""
        target = self.path + (b"?" + self.query if self.query else b"")
        fields = [*(field for field in self.headers if field[0] not in without), *added]
        begun = b"%b %b HTTP/%b" % (self.method.encode(), target, self.version.encode())
        return b"\r\n".join([begun, *map(b": ".join, fields), b"", b""])


class HeadCache:
    """One process's memory of heads that have no body and are not long, and of all but their first lines."""

    def __init__(self) -> None:
        self._known: TwoGenerationMemo[bytes, RequestHead] = TwoGenerationMemo(GENERATION_SIZE)
        self._fields: TwoGenerationMemo[bytes, RequestHead] = TwoGenerationMemo(GENERATION_SIZE)
        self.exact = self._known.get
        """The head that these bytes are, if they came before."""

    def by_fields(self, data: bytes) -> RequestHead | None:
        """The head that these bytes are, if its fields came before."""
        end = data.find(b"\r\n")
        like = self._fields.get(data[end:])
        line = None if like is None else _LINE.fullmatch(data, 0, end)
        if like is None or line is None:
            return None
        method, path, query = line.groups()
        target = path, query or b""
        head = RequestHead(method.decode(), target, "1.1", like.headers, keep_alive=like.keep_alive, like=like)
        self._known.put(data, head)
        return head

    def put(self, data: bytes, head: RequestHead) -> None:
        """Remember that `data`, all of it and nothing else, is this head."""
        if len(data) <= MAX_CACHED_BYTES:
            self._known.put(data, head)
            end = data.find(b"\r\n")
            if _LINE.fullmatch(data, 0, end):
                self._fields.put(data[end:], head)
