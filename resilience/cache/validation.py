"""Validation of stored responses: by clients' preconditions, and by backends (RFC 9111 section 4.3)."""

from collections.abc import Sequence
from typing import Final

from resilience.cache import fields
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.messages import CACHE_CONDITIONS, CacheRequest, CacheResponse

_NOT_UPDATED: Final = fields.CONTENT_DIGESTS | {
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
}
"""Fields that describe a body, which a 304 does not have: the stored body's stay (RFC 9111 section 3.2)."""
_REPRESENTATION_FIELDS: Final = _NOT_UPDATED | {b"content-language"}
"""Fields that the gateway's own 304 leaves out: the client has them (RFC 9110 section 15.4.5)."""


def may_be_confirmed(status: int) -> bool:
    """Whether a 304 can be about a stored response with this status. Servers evaluate preconditions only where they
    would respond with 2xx (RFC 9110 section 13.2.1): a 304 in place of a stored 404 says that there is a resource now.
    """
    return 200 <= status < 300


def validation_fields(entry: Entry) -> list[Header]:
    """The preconditions that validate this response (RFC 9111 section 4.3.1); empty if there is none."""
    conditions: list[Header] = []
    if not may_be_confirmed(entry.status):
        return conditions
    etag, modified = entry.field(b"etag"), entry.field(b"last-modified")
    if etag is not None:
        conditions.append((b"if-none-match", etag))
    if modified is not None:
        conditions.append((b"if-modified-since", modified))
    return conditions


def with_conditions(headers: Sequence[Header], entry: Entry) -> list[Header]:
    """A request's fields with its preconditions replaced, so that a 304 is about the stored response."""
    return [pair for pair in headers if pair[0] not in CACHE_CONDITIONS] + validation_fields(entry)


def is_not_modified(entry: Entry, request: CacheRequest) -> bool:
    """Whether the request's preconditions call for a 304: If-None-Match, compared weakly, else If-Modified-Since
    (RFC 9111 section 4.3.2, RFC 9110 section 13.2.2).
    """
    if entry.status != 200 or request.cache_fields.isdisjoint(CACHE_CONDITIONS):
        return False
    if b"if-none-match" in request.cache_fields:
        return _matches(request.values(b"if-none-match"), entry.field(b"etag"))
    lines = request.values(b"if-modified-since")
    since = fields.date(lines) if len(lines) == 1 else None
    return since is not None and _modified_at(entry) <= since


def not_modified_headers(headers: Sequence[Header]) -> list[Header]:
    """The stored fields that belong in a 304 (RFC 9110 section 15.4.5)."""
    excluded = _REPRESENTATION_FIELDS
    if any(name == b"etag" for name, _ in headers):
        excluded = excluded | {b"last-modified"}
    return [pair for pair in headers if pair[0] not in excluded]


def is_selected_by(entry: Entry, response: CacheResponse) -> bool:
    """Whether this 304 selects the stored response for update: their validators match (RFC 9111 section 4.3.4).

    Without a validator in common, a strong one in the 304 is that of another response. Where the stored response has no
    Last-Modified, its Date stands for it: what has been modified since is another response.
    """
    for name in (b"etag", b"last-modified"):
        received, stored = response.values(name), entry.field(name)
        if received and stored is not None:
            tag = received[0].strip()
            return tag == stored.strip() or (tag.startswith(b"W/") and _opaque_tag(tag) == _opaque_tag(stored))
    if _was_modified_after(entry, response):
        return False
    return all(tag.strip().startswith(b"W/") for tag in response.values(b"etag"))


def freshened_headers(entry: Entry, response: CacheResponse) -> list[Header]:
    """The stored fields, updated by those of a 304 or of a HEAD (RFC 9111 sections 3.2, 4.3.4 and 4.3.5)."""
    received = [pair for pair in fields.storable(response.headers) if pair[0] not in _NOT_UPDATED]
    replaced = {name for name, _ in received}
    if b"date" not in replaced:  # the response is valid now; its old Date would make it stale at once
        replaced.add(b"date")
    age = [(b"age", value) for value in response.values(b"age")]
    return [pair for pair in entry.headers if pair[0] not in replaced] + received + age


def matches_head(entry: Entry, response: CacheResponse) -> bool:
    """Whether the response to a HEAD has the stored body's length and validators (RFC 9111 section 4.3.5)."""
    if response.status != entry.status:
        return False
    length = response.values(b"content-length")
    if length and length[0].strip() != b"%d" % len(entry.body):
        return False
    etag, modified = response.values(b"etag"), response.values(b"last-modified")
    if etag and etag[0] != entry.field(b"etag"):
        return False
    stored = entry.field(b"last-modified")
    return not _was_modified_after(entry, response) if stored is None else not modified or _same_date(modified, stored)


def matches_strongly(tag: bytes | None, other: bytes | None) -> bool:
    """Strong comparison of entity tags (RFC 9110 section 8.8.3.2)."""
    return tag is not None and tag == other and not tag.startswith(b"W/")


def _matches(lines: Sequence[bytes], etag: bytes | None) -> bool:
    """Whether If-None-Match lists the tag, by weak comparison; `*` matches any (RFC 9110 section 13.1.2)."""
    value = b",".join(lines).strip()
    if value == b"*":
        return True
    return etag is not None and _opaque_tag(etag) in [_opaque_tag(part) for part in fields.entity_tags(value)]


def _opaque_tag(tag: bytes) -> bytes:
    return tag.strip().removeprefix(b"W/")


def _was_modified_after(entry: Entry, response: CacheResponse) -> bool:
    """Whether a response was modified after a stored one without Last-Modified was made (RFC 9111 section 4.3.2)."""
    modified = fields.date(response.values(b"last-modified"))
    return modified is not None and entry.field(b"last-modified") is None and modified > _modified_at(entry)


def _same_date(lines: Sequence[bytes], stored: bytes) -> bool:
    """Whether two dates are the same time, in whatever format."""
    date = fields.date(lines)
    return lines[0] == stored if date is None else date == fields.date([stored])


def _modified_at(entry: Entry) -> float:
    """Last-Modified, else Date, else when the response was received (RFC 9111 section 4.3.2)."""
    for name in (b"last-modified", b"date"):
        date = fields.date(fields.values(entry.headers, name))
        if date is not None:
            return date
    return entry.stored_at
