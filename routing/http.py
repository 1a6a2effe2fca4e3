"""HTTP messages as the gateway forwards them: bytes as received, field names in lower case, bodies as streams."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

from routing.caller import Caller

Header = tuple[bytes, bytes]
Headers = list[Header]
Body = AsyncIterator[bytes]
InterimSink = Callable[[int, Headers], None]
"""Takes the status and fields of an interim response (RFC 9110 section 15.2)."""


CLIENT_SECONDS: Final = 60.0
"""Seconds for which a client may read nothing of a response, or send nothing of a body, as nginx's send_timeout."""


class Stream(Protocol):
    """A body that must be read to its end or closed."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that are not forwarded, whatever `Connection` lists (RFC 9110 section 7.6.1)."""

_NO_FIELD: Final = frozenset({b"keep-alive", b"close"})
"""The most common values of `Connection`, which list no field that would be forwarded."""

_FRAMED_BY_FIELDS: Final = frozenset({"1.0", "1.1"})
"""Versions of HTTP in which header fields say whether there is content."""
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Safe methods (RFC 9110 section 9.2.1)."""
IDEMPOTENT: Final = SAFE | {"PUT", "DELETE"}
"""Idempotent methods, which may be sent twice (RFC 9110 section 9.2.2)."""
IDEMPOTENCY_KEY: Final = b"idempotency-key"


class SharedFields:
    """A memo shared by requests whose header fields are the same bytes, whatever their target. `epoch` is the state of
    the configuration for which it holds.
    """

    __slots__ = ("credential_state", "epoch")

    def __init__(self) -> None:
        self.credential_state: Any = None
        self.epoch: object = None


class SharedHead:
    """A memo shared by requests whose whole heads are the same bytes."""

    __slots__ = ("epoch", "resolution", "shared_fields")

    def __init__(self, shared_fields: SharedFields) -> None:
        self.shared_fields = shared_fields
        self.resolution: Any = None
        self.epoch: object = None


@dataclass(eq=False)
class Request:
    """A client's request. `path` and `query` are the bytes as sent; `body` is None if there is none.

    `version` is the client's HTTP version. `has_empty_query`: the target ends with `?`.
    `caller` is set by an adapter that has authenticated the caller itself, by a
    staff session. `watch_disconnect` is called when the response begins to depend on a backend: from then on the
    adapter cancels the request if the client disconnects. `set_body_timeout` sets how long in seconds the client may
    send nothing of the body, where the adapter observes that. `send_interim` sends the client an interim response
    before the final one; None where the client or the adapter cannot. `via_proxy`: it came from a trusted proxy, which
    alone is believed what it says of the client. `peer_certificates` are those that a TLS listener has verified of the
    connection's other end, in DER, its own first.
    """

    method: str
    path: bytes
    query: bytes
    headers: Headers
    client: str
    scheme: str = "http"
    version: str = "1.1"
    body: Body | None = None
    caller: Caller | None = None
    has_empty_query: bool = field(default=False, init=False)
    via_proxy: bool = field(default=False, init=False)
    peer_certificates: tuple[bytes, ...] = field(default=(), init=False, repr=False)
    shared_head: SharedHead | None = field(default=None, repr=False)
    watch_disconnect: Callable[[], None] | None = field(default=None, init=False)
    set_body_timeout: Callable[[float], None] | None = field(default=None, init=False)
    send_interim: InterimSink | None = field(default=None, init=False, repr=False)

    @cached_property
    def fields(self) -> dict[bytes, bytes]:
        """The first value of each field, read once `headers` are final. Set by an adapter that has it already."""
        return first_values(self.headers)


@dataclass(slots=True)
class Response:
    """A response. `body` is either complete or a stream that must be read to its end or closed.

    `framed`: the header fields contain the length of a complete body already, or none is needed.
    """

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | Stream = b""
    framed: bool = False


def may_have_content(method: str, version: str, length: str | bytes | None, coding: str | bytes | None) -> bool:
    """Whether a request may have content, by its fields (RFC 9112 section 6.3). In HTTP/2 and later its end needs no
    field (RFC 9113 section 8.1): without a Content-Length, a request may have some if its method usually does.
    """
    if coding is not None:
        return True
    if length is not None:
        return length not in (b"", b"0", "", "0")
    return version not in _FRAMED_BY_FIELDS and method in _WITH_CONTENT


def without_fragment(path: bytes, query: bytes) -> tuple[bytes, bytes]:
    """Path and query up to a fragment, which a request's target does not have (RFC 9112 section 3.2)."""
    if b"#" in path:
        return path.partition(b"#")[0], b""
    return path, query.partition(b"#")[0]


def client_timeout(body: Stream) -> float:
    """Seconds for which the client may read nothing of this body."""
    seconds: float = getattr(body, "client_timeout", CLIENT_SECONDS)
    return seconds


CLIENT_GONE: Final = "client_gone"
"""Why a transfer ended early if its client disconnected: the `aborted` of events, logs and metrics."""


class ClientGone(Exception):
    """The client disconnected before its request or the response was complete."""


def first_values(headers: Headers) -> dict[bytes, bytes]:
    """The first value of each field."""
    fields = dict(headers)
    return fields if len(fields) == len(headers) else dict(reversed(headers))


def first(headers: Iterable[Header], name: bytes) -> bytes | None:
    """The first value of a field, or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def joined(headers: Iterable[Header], name: bytes) -> bytes | None:
    """All of a field's values as one list (RFC 9110 section 5.3), or None when it is absent."""
    values = [value for key, value in headers if key == name]
    return b", ".join(values) if values else None


def connection_options(headers: Headers) -> frozenset[bytes]:
    """The field names that `Connection` lists, in lower case."""
    values = [value for name, value in headers if name == b"connection"]
    if _NO_FIELD.issuperset(values):
        return frozenset()
    value = b",".join(values)
    return frozenset(option.strip().lower() for option in value.split(b","))
