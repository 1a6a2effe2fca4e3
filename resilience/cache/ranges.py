"""Parts of a stored whole: Range and If-Range (RFC 9110 section 14), answered without a backend."""

import re
from typing import Final

import msgspec

from resilience.cache import fields
from resilience.cache.entry import Entry
from resilience.cache.messages import CacheRequest
from resilience.cache.validation import strong

MAX_PARTS: Final = 16
"""A request for more parts than this gets the whole: each costs us a header for a byte (RFC 9110 section 17.15). Fewer
cannot come to more than the whole and their headers, since those that overlap are sent as one."""
_SET: Final = re.compile(rb"bytes[ \t]*=(.+)", re.IGNORECASE | re.DOTALL)
_ONE: Final = re.compile(rb"[ \t]*(?:([0-9]{1,18})[ \t]*-[ \t]*([0-9]{1,18})?|-[ \t]*([0-9]{1,18}))[ \t]*")


class Part(msgspec.Struct, frozen=True):
    """From byte `start` up to, not with, `end`."""

    start: int
    end: int


class Unsatisfiable(msgspec.Struct, frozen=True):
    """None of what was asked for is there: 416 (RFC 9110 section 15.5.17)."""


def parts(entry: Entry, asked: CacheRequest) -> tuple[Part, ...] | Unsatisfiable | None:
    """The parts of the stored body that this request wants, apart from each other and in the order it names them;
    None when it gets the whole.
    """
    lines = asked.values(b"range") if b"range" in asked.cache_fields else []
    if len(lines) != 1 or asked.method != "GET" or entry.status != 200 or not _same(entry, asked):
        return None
    wanted = _parsed(lines[0])
    if wanted is None:
        return None
    length = len(entry.body)
    there = [found for start, end in wanted if (found := _within(start, end, length))]
    return _joined(there) if there else Unsatisfiable()


def _same(entry: Entry, asked: CacheRequest) -> bool:
    """Does the stored answer bear the validator of If-Range: the same strong tag, or exactly the same date, one that
    was a second past when the answer was made (RFC 9110 sections 13.1.5 and 8.8.2.2)?
    """
    given = asked.values(b"if-range")
    if not given:
        return True
    value, etag, changed = given[0].strip(), entry.field(b"etag"), entry.field(b"last-modified")
    if value.startswith((b'"', b"W/")):
        return strong(etag, value)
    since, made = fields.date([value]), fields.date(fields.values(entry.headers, b"date"))
    exact = changed is not None and value == changed.strip()
    return exact and since is not None and made is not None and since + 1 <= made


def _parsed(value: bytes) -> list[tuple[int | None, int | None]] | None:
    """First and last byte of each part, as written; None for another unit or nonsense (RFC 9110 section 14.1.1)."""
    form = _SET.fullmatch(value.strip())
    if form is None:
        return None
    wanted: list[tuple[int | None, int | None]] = []
    pieces = [piece for piece in form[1].split(b",") if piece.strip()]
    for piece in pieces:
        one = _ONE.fullmatch(piece)
        if one is None:
            return None
        first, last, suffix = (int(group) if group is not None else None for group in one.groups())
        if first is not None and last is not None and last < first:
            return None
        wanted.append((first, last) if first is not None else (None, suffix))
    return wanted if 0 < len(wanted) <= MAX_PARTS else None


def _within(first: int | None, last: int | None, length: int) -> Part | None:
    """The part as far as it is there; the last `last` bytes where there is no `first`."""
    if first is None:
        size = min(last or 0, length)
        return Part(length - size, length) if size else None
    end = length if last is None else min(last + 1, length)
    return Part(first, end) if first < end else None


def _joined(there: list[Part]) -> tuple[Part, ...]:
    """Those that touch as one, which comes where the first of them was asked for (RFC 9110 section 15.3.7.2)."""
    apart: list[tuple[int, Part]] = []
    for rank, one in sorted(enumerate(there), key=lambda ranked: ranked[1].start):
        before, last = apart[-1] if apart else (rank, one)
        if apart and one.start <= last.end:
            apart[-1] = min(before, rank), Part(last.start, max(last.end, one.end))
        else:
            apart.append((rank, one))
    return tuple(one for _, one in sorted(apart, key=lambda ranked: ranked[0]))
