"""Whether a stored answer still holds: asked by clients of us, and by us of backends (RFC 9111 section 4.3)."""

from collections.abc import Sequence
from typing import Final

from resilience.cache import fields
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.messages import CACHE_CONDITIONS, CacheRequest, CacheResponse

_NOT_UPDATED: Final = frozenset({b"content-encoding", b"content-length", b"content-range", b"content-type"})
"""Fields of a 304 that are about a body it has not: those of the stored body stay (RFC 9111 section 3.2)."""
_ABOUT_THE_BODY: Final = frozenset({b"content-encoding", b"content-language", b"content-length", b"content-range"})
_DESCRIBING: Final = _ABOUT_THE_BODY | {b"content-type"}
"""Fields that a 304 of ours leaves out: the client has them (RFC 9110 section 15.4.5)."""


def validation_fields(entry: Entry) -> list[Header]:
    """The fields that ask a backend whether this answer still holds (RFC 9111 section 4.3.1); none if nothing can."""
    asking = []
    etag, changed = entry.field(b"etag"), entry.field(b"last-modified")
    if etag is not None:
        asking.append((b"if-none-match", etag))
    if changed is not None:
        asking.append((b"if-modified-since", changed))
    return asking


def with_conditions(headers: Sequence[Header], entry: Entry) -> list[Header]:
    """A request's fields with our conditions in place of its own: a 304 is then about the stored answer."""
    return [pair for pair in headers if pair[0] not in CACHE_CONDITIONS] + validation_fields(entry)


def is_not_modified(entry: Entry, asked: CacheRequest) -> bool:
    """Does the client have this answer already? If-None-Match first, compared weakly, else If-Modified-Since
    (RFC 9111 section 4.3.2, RFC 9110 section 13.2.2).
    """
    if entry.status != 200 or asked.cache_fields.isdisjoint(CACHE_CONDITIONS):
        return False
    if b"if-none-match" in asked.cache_fields:
        return _named(asked.values(b"if-none-match"), entry.field(b"etag"))
    given = asked.values(b"if-modified-since")
    since = fields.date(given) if len(given) == 1 else None
    return since is not None and _changed(entry) <= since


def not_modified_headers(headers: Sequence[Header]) -> list[Header]:
    """What a 304 says of the answer it stands for (RFC 9110 section 15.4.5)."""
    barred = _DESCRIBING
    if any(name == b"etag" for name, _ in headers):
        barred = barred | {b"last-modified"}
    return [pair for pair in headers if pair[0] not in barred]


def is_selected_by(entry: Entry, answered: CacheResponse) -> bool:
    """Is this 304 about the stored answer? Its validator, if it has one, is the same, and as strong as it says
    (RFC 9111 section 4.3.4). With none in common, a strong one is another's.
    """
    for name in (b"etag", b"last-modified"):
        said, ours = answered.values(name), entry.field(name)
        if said and ours is not None:
            tag = said[0].strip()
            return tag == ours.strip() or (tag.startswith(b"W/") and _opaque(tag) == _opaque(ours))
    return all(tag.strip().startswith(b"W/") for tag in answered.values(b"etag"))


def freshened_headers(entry: Entry, answered: CacheResponse) -> list[Header]:
    """The stored fields, brought up to date by a 304's or a HEAD's (RFC 9111 sections 3.2, 4.3.4 and 4.3.5)."""
    news = [pair for pair in fields.kept(answered.headers) if pair[0] not in _NOT_UPDATED]
    replaced = {name for name, _ in news}
    if b"date" not in replaced:  # what is stored was true now: an old Date would make it old at once
        replaced.add(b"date")
    age = [(b"age", value) for value in answered.values(b"age")]
    return [pair for pair in entry.headers if pair[0] not in replaced] + news + age


def matches_head(entry: Entry, answered: CacheResponse) -> bool:
    """Is a HEAD's answer about the stored body: same length, same validators (RFC 9111 section 4.3.5)?"""
    if answered.status != entry.status:
        return False
    length = answered.values(b"content-length")
    if length and length[0].strip() != b"%d" % len(entry.body):
        return False
    for name in (b"etag", b"last-modified"):
        said = answered.values(name)
        if said and said[0] != entry.field(name):
            return False
    return True


def strong(tag: bytes | None, other: bytes | None) -> bool:
    """Are both the same, and neither weak (RFC 9110 section 8.8.3.2)?"""
    return tag is not None and tag == other and not tag.startswith(b"W/")


def _named(lines: Sequence[bytes], etag: bytes | None) -> bool:
    """Is the tag among those of If-None-Match? Compared weakly; `*` is any (RFC 9110 section 13.1.2)."""
    value = b",".join(lines).strip()
    if value == b"*":
        return True
    return etag is not None and _opaque(etag) in [_opaque(part) for part in fields.entity_tags(value)]


def _opaque(tag: bytes) -> bytes:
    return tag.strip().removeprefix(b"W/")


def _changed(entry: Entry) -> float:
    """When the answer last changed: Last-Modified, else Date, else when it came (RFC 9111 section 4.3.2)."""
    for name in (b"last-modified", b"date"):
        said = fields.date(fields.values(entry.headers, name))
        if said is not None:
            return said
    return entry.stored_at
