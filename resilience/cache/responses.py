"""A stored answer as this request gets it: whole, a part, or the word that the client has it already."""

from secrets import token_hex

import msgspec

from resilience.cache import fields, ranges, validation
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.messages import CacheRequest
from resilience.cache.ranges import Part


class CachedResponse(msgspec.Struct):
    """Ready to send but for the gateway's own fields. A HEAD's body is left out by whoever sends it."""

    status: int
    headers: list[Header]
    body: bytes


def construct_response(entry: Entry, asked: CacheRequest, age: int) -> CachedResponse:
    """The stored answer for this request: conditions come before ranges (RFC 9110 section 13.2.2)."""
    if asked.cache_fields:
        if validation.is_not_modified(entry, asked):
            return CachedResponse(304, [*validation.not_modified_headers(entry.headers), _age(age)], b"")
        wanted = ranges.parts(entry, asked)
        if wanted is not None:
            return _partly(entry, wanted, age)
    headers = [*entry.headers, _age(age)]
    if entry.field(b"content-length") is None and entry.status != 204:
        headers.append((b"content-length", b"%d" % len(entry.body)))
    return CachedResponse(entry.status, headers, entry.body)


def _partly(entry: Entry, wanted: tuple[Part, ...] | ranges.Unsatisfiable, age: int) -> CachedResponse:
    """A part, several, or that there is none (RFC 9110 sections 15.3.7 and 15.5.17)."""
    if isinstance(wanted, ranges.Unsatisfiable):
        there = (b"content-range", b"bytes */%d" % len(entry.body))
        return CachedResponse(416, [there, (b"content-length", b"0"), _age(age)], b"")
    headers = [pair for pair in entry.headers if pair[0] not in (b"content-length", b"content-range")]
    if len(wanted) == 1:
        body = entry.body[wanted[0].start : wanted[0].end]
        headers.append(_place(wanted[0], entry))
    else:
        boundary = token_hex(16).encode()
        body = _multipart(entry, wanted, boundary)
        headers = [pair for pair in headers if pair[0] != b"content-type"]
        headers.append((b"content-type", b"multipart/byteranges; boundary=" + boundary))
    return CachedResponse(206, [*headers, (b"content-length", b"%d" % len(body)), _age(age)], body)


def _multipart(entry: Entry, wanted: tuple[Part, ...], boundary: bytes) -> bytes:
    """Each part with what it is and where it belongs (RFC 9110 sections 14.6 and 15.3.7.2). The boundary is random, so
    that no body can hold it.
    """
    kind = [(b"content-type", value) for value in fields.values(entry.headers, b"content-type")[:1]]
    pieces = []
    for part in wanted:
        head = b"".join(b"%b: %b\r\n" % pair for pair in (*kind, _place(part, entry)))
        pieces += [b"--%b\r\n%b\r\n" % (boundary, head), entry.body[part.start : part.end], b"\r\n"]
    return b"".join([*pieces, b"--%b--\r\n" % boundary])


def _place(part: Part, entry: Entry) -> Header:
    return (b"content-range", b"bytes %d-%d/%d" % (part.start, part.end - 1, len(entry.body)))


def _age(age: int) -> Header:
    return (b"age", b"%d" % age)
