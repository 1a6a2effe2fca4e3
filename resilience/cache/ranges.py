"""Range requests for a stored body: Range and If-Range (RFC 9110 section 14)."""

import re
from typing import Final

import msgspec

from resilience.cache import fields
from resilience.cache.entry import Entry
from resilience.cache.messages import CacheRequest
from resilience.cache.validation import matches_strongly

MAX_PARTS: Final = 16
"""A request for more parts gets the whole body: each part costs a header, even for one byte (RFC 9110 section 17.15).
Parts that overlap are sent as one, so fewer parts never exceed the whole body and their headers.
"""
_BYTE_RANGE_SET: Final = re.compile(rb"bytes[ \t]*=(.+)", re.IGNORECASE | re.DOTALL)
_BYTE_RANGE: Final = re.compile(rb"[ \t]*(?:([0-9]{1,18})[ \t]*-[ \t]*([0-9]{1,18})?|-[ \t]*([0-9]{1,18}))[ \t]*")


class ByteSpan(msgspec.Struct, frozen=True):
    """The bytes from `start` to before `end`."""

    start: int
    end: int


class Unsatisfiable(msgspec.Struct, frozen=True):
    """None of the requested bytes exist: 416 (RFC 9110 section 15.5.17)."""


def parts(entry: Entry, request: CacheRequest) -> tuple[ByteSpan, ...] | Unsatisfiable | None:
    """The parts of the stored body to send, disjoint and in the order of the request; None for the whole body."""
    return parts_of(entry, request, len(entry.body)) if entry.status == 200 else None


def parts_of(entry: Entry, request: CacheRequest, length: int) -> tuple[ByteSpan, ...] | Unsatisfiable | None:
    """The same for a representation of `length` bytes, whatever of it is stored."""
    lines = request.values(b"range") if b"range" in request.cache_fields else []
    if len(lines) != 1 or request.method != "GET" or not _matches_if_range(entry, request):
        return None
    requested = _parse_ranges(lines[0])
    if requested is None:
        return None
    existing = [part for first, last in requested if (part := _clip(first, last, length))]
    return _coalesce(existing) if existing else Unsatisfiable()


def _matches_if_range(entry: Entry, request: CacheRequest) -> bool:
    """Whether If-Range allows parts: it is absent, or the stored response's strong tag, or exactly its Last-Modified
    where that is at least a second before Date (RFC 9110 sections 13.1.5 and 8.8.2.2).
    """
    lines = request.values(b"if-range")
    if not lines:
        return True
    value, etag, modified = lines[0].strip(), entry.field(b"etag"), entry.field(b"last-modified")
    if value.startswith((b'"', b"W/")):
        return matches_strongly(etag, value)
    since, date = fields.date([value]), fields.date(fields.values(entry.headers, b"date"))
    is_exact = modified is not None and value == modified.strip()
    return is_exact and since is not None and date is not None and since + 1 <= date


def _parse_ranges(value: bytes) -> list[tuple[int | None, int | None]] | None:
    """The first and last position of each range as written, (None, length) for a suffix range. None for another unit or
    a malformed value (RFC 9110 section 14.1.1).
    """
    range_set = _BYTE_RANGE_SET.fullmatch(value.strip())
    if range_set is None:
        return None
    requested: list[tuple[int | None, int | None]] = []
    specs = [spec for spec in range_set[1].split(b",") if spec.strip()]
    if len(specs) > MAX_PARTS:
        return None
    for spec in specs:
        match = _BYTE_RANGE.fullmatch(spec)
        if match is None:
            return None
        first, last, suffix = (int(group) if group is not None else None for group in match.groups())
        if first is not None and last is not None and last < first:
            return None
        requested.append((first, last) if first is not None else (None, suffix))
    return requested or None


def _clip(first: int | None, last: int | None, length: int) -> ByteSpan | None:
    """The part as far as it exists; without `first`, the last `last` bytes."""
    if first is None:
        size = min(last or 0, length)
        return ByteSpan(length - size, length) if size else None
    end = length if last is None else min(last + 1, length)
    return ByteSpan(first, end) if first < end else None


def _coalesce(existing: list[ByteSpan]) -> tuple[ByteSpan, ...]:
    """Combine parts that touch; the result takes the place of the first of them (RFC 9110 section 15.3.7.2)."""
    disjoint: list[tuple[int, ByteSpan]] = []
    for rank, part in sorted(enumerate(existing), key=lambda ranked: ranked[1].start):
        before, last = disjoint[-1] if disjoint else (rank, part)
        if disjoint and part.start <= last.end:
            disjoint[-1] = min(before, rank), ByteSpan(last.start, max(last.end, part.end))
        else:
            disjoint.append((rank, part))
    return tuple(part for _, part in sorted(disjoint, key=lambda ranked: ranked[0]))
