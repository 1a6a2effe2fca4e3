"""Responses constructed from stored ones (RFC 9111 section 4): in full, in part, or a 304."""

from secrets import token_hex
from typing import Final

import msgspec

from resilience.cache import fields, parts, ranges, validation
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.messages import CacheRequest
from resilience.cache.ranges import ByteSpan

_OF_THE_WHOLE: Final = fields.CONTENT_DIGESTS | {b"content-length", b"content-range"}


class CachedResponse(msgspec.Struct):
    """Complete but for the gateway's own fields. For a HEAD, its sender omits the body."""

    status: int
    headers: list[Header]
    body: bytes


def construct_response(entry: Entry, request: CacheRequest, age: int) -> CachedResponse:
    """The response to this request. Preconditions take precedence over ranges (RFC 9110 section 13.2.2)."""
    if request.cache_fields:
        if entry.status == parts.PARTIAL and (part := parts.select(entry, request)) is not None:
            part_headers, body = parts.response_fields(entry, part, age)
            return CachedResponse(parts.PARTIAL, part_headers, body)
        if validation.is_not_modified(entry, request):
            return CachedResponse(304, [*validation.not_modified_headers(entry.headers), _age(age)], b"")
        selected = ranges.parts(entry, request)
        if selected is not None:
            return _partial_response(entry, selected, age)
    headers = [*entry.headers, _age(age)]
    if entry.field(b"content-length") is None and entry.status != 204:
        headers.append((b"content-length", b"%d" % len(entry.body)))
    return CachedResponse(entry.status, headers, entry.body)


def _partial_response(entry: Entry, selected: tuple[ByteSpan, ...] | ranges.Unsatisfiable, age: int) -> CachedResponse:
    """A 206 with one part or several, or a 416 (RFC 9110 sections 15.3.7 and 15.5.17)."""
    if isinstance(selected, ranges.Unsatisfiable):
        unsatisfied = (b"content-range", b"bytes */%d" % len(entry.body))
        return CachedResponse(416, [unsatisfied, (b"content-length", b"0"), _age(age)], b"")
    headers = [pair for pair in entry.headers if pair[0] not in _OF_THE_WHOLE]
    if len(selected) == 1:
        body = entry.body[selected[0].start : selected[0].end]
        headers.append(_content_range(selected[0], entry))
    else:
        boundary = token_hex(16).encode()
        body = _multipart(entry, selected, boundary)
        headers = [pair for pair in headers if pair[0] != b"content-type"]
        headers.append((b"content-type", b"multipart/byteranges; boundary=" + boundary))
    return CachedResponse(206, [*headers, (b"content-length", b"%d" % len(body)), _age(age)], body)


def _multipart(entry: Entry, selected: tuple[ByteSpan, ...], boundary: bytes) -> bytes:
    """A multipart/byteranges body (RFC 9110 sections 14.6 and 15.3.7.2). The boundary is random, so that no body can
    contain it.
    """
    content_type = [(b"content-type", value) for value in fields.values(entry.headers, b"content-type")[:1]]
    pieces = []
    for part in selected:
        head = b"".join(b"%b: %b\r\n" % pair for pair in (*content_type, _content_range(part, entry)))
        pieces += [b"--%b\r\n%b\r\n" % (boundary, head), entry.body[part.start : part.end], b"\r\n"]
    return b"".join([*pieces, b"--%b--\r\n" % boundary])


def _content_range(part: ByteSpan, entry: Entry) -> Header:
    return (b"content-range", b"bytes %d-%d/%d" % (part.start, part.end - 1, len(entry.body)))


def _age(age: int) -> Header:
    return (b"age", b"%d" % age)
