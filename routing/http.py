"""HTTP as the gateway passes it on: bytes as they came, names in lower case, bodies as streams."""

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

from routing.caller import Caller

Header = tuple[bytes, bytes]
Headers = list[Header]
Body = AsyncIterator[bytes]


class Stream(Protocol):
    """A body on its way, which must be read to its end or closed."""

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
"""Fields that end at this hop, whatever `Connection` says (RFC 9110 section 7.6.1)."""

_OF_NO_FIELD: Final = frozenset({b"keep-alive", b"close"})
"""What `Connection` mostly says, which lists no field that goes any further."""

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that ask for no change (RFC 9110 section 9.2.1)."""
IDEMPOTENT: Final = SAFE | {"PUT", "DELETE"}
"""Methods that may be sent twice (RFC 9110 section 9.2.2)."""


class SharedFields:
    """What requests have in common whose fields are the same bytes, whatever they ask for: whatever follows from those
    alone may be kept here, with what else it depends on.
    """

    __slots__ = ("credential_state", "epoch")

    def __init__(self) -> None:
        self.credential_state: Any = None
        self.epoch: object = None


class SharedHead:
    """The same of those whose whole heads are the same bytes."""

    __slots__ = ("epoch", "resolution", "shared_fields")

    def __init__(self, kin: SharedFields) -> None:
        self.shared_fields = kin
        self.resolution: Any = None
        self.epoch: object = None


@dataclass(eq=False)
class Request:
    """A client's request. `path` and `query` are the bytes as sent; `body` is None when there is none.

    `version` is that of HTTP, as the client speaks it.
    `caller` is set by an adapter that has verified it by its own means, a staff session. `on_wait` is called when
    the answer begins to depend on a backend: from then on whoever brought the request watches for the client going
    away, and cancels.
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
    shared_head: SharedHead | None = field(default=None, repr=False)
    watch_disconnect: Callable[[], None] | None = field(default=None, init=False)

    @cached_property
    def fields(self) -> dict[bytes, bytes]:
        """The first value of each field, read once `headers` are final. Set by whoever knows it already."""
        return first_values(self.headers)


@dataclass(slots=True)
class Response:
    """An answer. `body` is either whole or a stream that must be read to its end or closed.

    `framed`: its fields tell the length of a whole body already, or it needs none.
    """

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes | Stream = b""
    framed: bool = False


class ClientGone(Exception):
    """The client went away before its request or our answer was whole."""


def first_values(headers: Headers) -> dict[bytes, bytes]:
    """The first line of each field."""
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
    if _OF_NO_FIELD.issuperset(values):
        return frozenset()
    value = b",".join(values)
    return frozenset(option.strip().lower() for option in value.split(b","))
