"""Parts of responses: which are stored and combined, and what they answer (RFC 9111 sections 3.3 and 3.4), as pure
functions.

A part is an Entry with the status 206, under a key of its own: no request for the whole can find it.
"""

import re
from typing import Final

import msgspec

from resilience.cache import fields, ranges
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.messages import RANGE_FIELDS, CacheRequest, CacheResponse
from resilience.cache.ranges import ByteSpan

PARTIAL: Final = 206
_CONTENT_RANGE: Final = re.compile(rb"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_OF_THE_PART: Final = fields.CONTENT_DIGESTS | {b"content-range", b"content-length"}


class ByteRange(msgspec.Struct, frozen=True):
    """The bytes from `start` to before `end` of a representation of `total` bytes."""

    start: int
    end: int
    total: int


def part_key(key: str) -> str:
    """The key of the parts of a response."""
    return f"{key}.part"


def may_use_part(request: CacheRequest) -> bool:
    """Whether a part may answer a request: one for ranges, without preconditions or directives."""
    return request.method == "GET" and b"range" in request.cache_fields and request.cache_fields <= RANGE_FIELDS


def byte_range(response: CacheResponse) -> ByteRange | None:
    """Which part of which representation a 206 has, if it may be combined with others: a single range with a strong
    entity tag and a known total.
    """
    etag, lines = response.values(b"etag"), response.values(b"content-range")
    found = _CONTENT_RANGE.fullmatch(lines[0].strip()) if len(lines) == 1 else None
    if response.status != PARTIAL or found is None or len(etag) != 1 or not etag[0].strip().startswith(b'"'):
        return None
    start, last, total = map(int, found.groups())
    return ByteRange(start, last + 1, total) if start <= last < total else None


def as_whole(response: CacheResponse) -> CacheResponse:
    """A part's response with the status and fields of the whole, for the rules of storage."""
    headers = [pair for pair in response.headers if pair[0] not in _OF_THE_PART]
    return CacheResponse(200, headers, response.received_at, response.delay, response.ignore, response.dropped)


def combine(stored: Entry | None, new: Entry, extent: ByteRange) -> tuple[Entry, ByteRange]:
    """The new part, with the stored one where both are of one representation and leave no gap (RFC 9111 section 3.4).

    The new part's header fields and freshness hold for both.
    """
    known = None if stored is None else extent_of(stored)
    if stored is None or known is None or stored.field(b"etag") != new.field(b"etag") or known.total != extent.total:
        return _with_extent(new, extent), extent
    if stored.variant != new.variant or known.start > extent.end or extent.start > known.end:
        return _with_extent(new, extent), extent
    before = stored.body[: max(0, extent.start - known.start)]
    after = stored.body[max(0, extent.end - known.start) :] if extent.end < known.end else b""
    both = ByteRange(min(known.start, extent.start), max(known.end, extent.end), extent.total)
    return _with_extent(msgspec.structs.replace(new, body=before + new.body + after), both), both


def extent_of(entry: Entry) -> ByteRange | None:
    """The part of the representation that an entry has."""
    return byte_range(CacheResponse(entry.status, entry.headers, entry.stored_at))


def to_whole(entry: Entry) -> Entry:
    """The whole response, from a part that has all bytes."""
    headers = tuple([pair for pair in entry.headers if pair[0] not in _OF_THE_PART])
    return msgspec.structs.replace(entry, status=200, headers=headers)


def select(entry: Entry, request: CacheRequest) -> ByteSpan | None:
    """The one range that the request is for, if the part contains it all."""
    extent = extent_of(entry)
    if extent is None:
        return None
    selected = ranges.parts_of(entry, request, extent.total)
    if not isinstance(selected, tuple) or len(selected) != 1:
        return None
    (part,) = selected
    return part if extent.start <= part.start and part.end <= extent.end else None


def response_fields(entry: Entry, part: ByteSpan, age: int) -> tuple[list[Header], bytes]:
    """The header fields and the body of a 206 with this range."""
    extent = extent_of(entry)
    assert extent is not None  # noqa: S101 - `select` has found the range in it
    body = entry.body[part.start - extent.start : part.end - extent.start]
    headers = [pair for pair in entry.headers if pair[0] not in _OF_THE_PART]
    headers.append((b"content-range", b"bytes %d-%d/%d" % (part.start, part.end - 1, extent.total)))
    headers += [(b"content-length", b"%d" % len(body)), (b"age", b"%d" % age)]
    return headers, body


def without_range(request: CacheRequest) -> CacheRequest:
    """The same request for the whole response."""
    headers = [pair for pair in request.headers if pair[0] not in RANGE_FIELDS]
    return CacheRequest("GET", headers, request.authenticated)


def _with_extent(entry: Entry, extent: ByteRange) -> Entry:
    headers = [pair for pair in entry.headers if pair[0] not in _OF_THE_PART]
    named = b"bytes %d-%d/%d" % (extent.start, extent.end - 1, extent.total)
    return msgspec.structs.replace(entry, status=PARTIAL, headers=(*headers, (b"content-range", named)))
