"""Searches the records, the latest first, a bounded number at a time."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from metrics.request_log.record import RecordKind, RequestRecord
from metrics.request_log.store import Position, Store, StoredRecord

PAGE: Final = 250
"""Records read at once, so that the event loop is not held up."""
MAX_SCANNED: Final = 5_000
"""Records that one search reads: what lies before is found by another one, from where this one has ended."""
CLOCK_TOLERANCE: Final = 10.0
"""Seconds by which the clocks of workers and store may differ."""
_STATUS: Final = re.compile(r"([1-5])xx|[1-5][0-9]{2}")

_record: Final = msgspec.msgpack.Decoder(RequestRecord)
encode: Final = msgspec.msgpack.Encoder().encode


class RequestQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What records must be like; an empty field matches all. `key` is a key's prefix, `status` a status or a class such
    as `5xx`, `code` that of the gateway's own error or of a failed call, and `start` and `end` are Unix time.
    `names` are the services whose requests may be found; None for all, and for requests of no service.
    """

    id: str = ""
    caller: str = ""
    key: str = ""
    consumer: str = ""
    team: str = ""
    service: str = ""
    route: str = ""
    method: str = ""
    status: str = ""
    code: str = ""
    kind: RecordKind | None = None
    start: float | None = None
    end: float | None = None
    names: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.status and _STATUS.fullmatch(self.status) is None:
            raise ValueError("status must be a status such as 404, or a class such as 5xx")

    @property
    def kinds(self) -> tuple[RecordKind, ...]:
        return tuple(RecordKind) if self.kind is None else (self.kind,)

    def matches(self, record: RequestRecord) -> bool:
        if self.names is not None and record.service not in self.names:
            return False
        if self.start is not None and record.at < self.start:
            return False
        if self.end is not None and record.at >= self.end:
            return False
        if self.status and str(record.status) != self.status and f"{record.status // 100}xx" != self.status:
            return False
        if self.code and self.code not in (record.code, record.call):
            return False
        exact = ("id", "caller", "key", "consumer", "team", "service", "route", "method")
        return all(getattr(record, name) == wanted for name in exact if (wanted := getattr(self, name)))


class FoundRecord(msgspec.Struct, frozen=True):
    position: Position
    record: RequestRecord


class SearchResult(msgspec.Struct, frozen=True):
    """The latest first. `next` is where to search on, None at the end. `is_shared` is false while the shared store is
    unavailable: then only this worker's requests since are known.
    """

    records: list[FoundRecord]
    next: Position | None = None
    is_shared: bool = True


async def search(
    store: Store, query: RequestQuery, *, before: Position | None = None, after: Position | None = None, limit: int
) -> SearchResult:
    """At most `limit` records stored between two positions. Raises StoreUnavailable."""
    found: list[FoundRecord] = []
    earliest = _earliest(query, after)
    for _ in range(MAX_SCANNED // PAGE):
        page = await store.page(query.kinds, before, PAGE)
        for stored in page:
            if earliest is not None and stored.position <= earliest:
                return SearchResult(found)
            before = stored.position
            record = decode(stored.data)
            if record is None or not query.matches(record):
                continue
            found.append(FoundRecord(stored.position, record))
            if len(found) == limit:
                return SearchResult(found, before)
        if len(page) < PAGE:
            return SearchResult(found)
    return SearchResult(found, before)


def _earliest(query: RequestQuery, after: Position | None) -> Position | None:
    """The position after which all matching records are: a record is stored after its request began."""
    if query.start is None:
        return after
    start = Position(max(0, int((query.start - CLOCK_TOLERANCE) * 1_000)))
    return start if after is None else max(start, after)


def decoded(stored: list[StoredRecord]) -> Iterator[FoundRecord]:
    for position, data in stored:
        record = decode(data)
        if record is not None:
            yield FoundRecord(position, record)


def decode(data: bytes) -> RequestRecord | None:
    """None for what another program, or another version of the gateway, has written."""
    try:
        return _record.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
