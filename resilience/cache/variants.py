"""The responses of one URI that vary by request fields (RFC 9111 section 4.1), stored as one entry."""

import re
from collections.abc import Sequence, Set
from typing import Final

import msgspec

from resilience.cache import fields
from resilience.cache.entry import Entry
from resilience.cache.fields import Header
from resilience.cache.messages import CacheResponse
from resilience.cache.policy import CachePolicy

MAX_VARIANTS: Final = 8
"""Responses stored per URI. Clients choose the request fields, and could otherwise fill the cache."""
MAX_VARIANT_BYTES: Final = 8 * 1_024 * 1_024
"""Total size of a URI's other responses: each lookup loads them all."""

_FIELD_NAME: Final = re.compile(rb"[!#$%&'+.^_`|~0-9a-z-]+")
"""A member of Vary other than `*` (RFC 9110 section 12.5.5)."""


def varied_fields(response: CacheResponse) -> set[bytes]:
    """The request fields that a response varies by: those of Vary, and two that some backends omit there.

    Content with a coding is of no use to a client that does not accept it (RFC 9110 section 12.5.3). A response with a
    Content-Range and a status other than 206 has a range in a unit that this cache does not know, such as rows.
    """
    varied = fields.names(response.values(b"vary"))
    if fields.names(response.values(b"content-encoding")) - {b"identity"}:
        varied.add(b"accept-encoding")
    if response.values(b"content-range"):
        varied.add(b"range")
    return varied


def is_malformed(varied: Set[bytes]) -> bool:
    """Whether Vary has a member that is not a field name, so that it is unknown which fields are meant."""
    return not all(map(_FIELD_NAME.fullmatch, varied))


def selecting_fields(varied: Set[bytes], policy: CachePolicy) -> tuple[bytes, ...]:
    """The request fields that the response varies by: those of Vary and the policy's."""
    if not varied and not policy.vary:
        return ()
    names = set(varied).difference([name.encode() for name in policy.ignore_vary])
    names.update([name.lower().encode() for name in policy.vary])
    return tuple(sorted(names))


def select(entry: Entry, headers: Sequence[Header]) -> Entry | None:
    """The newest response that matches these request fields."""
    for candidate in (entry, *entry.others):
        if not candidate.vary or fields.variant(headers, candidate.vary) == candidate.variant:
            return candidate
    return None


def merge_variant(new: Entry, stored: Entry | None, headers: Sequence[Header], now: float) -> Entry:
    """The new response to a request with these fields, with the URI's other responses that it does not replace.

    A response without Vary, among others that have it, gets theirs: as a match for every request it would hide them
    (RFC 9111 section 4.1).
    """
    others = [other for other in (stored, *stored.others) if other.kept_until > now] if stored else []
    known_vary = next((other.vary for other in others if other.vary), ())
    if not new.vary and known_vary:
        new = msgspec.structs.replace(new, vary=known_vary, variant=fields.variant(headers, known_vary))
    if not new.vary:
        return new
    others = [without_others(one) for one in others if one.vary and not _replaces(new, one, headers)]
    kept = _within_limits(others, frozenset(new.tags))
    return msgspec.structs.replace(new, others=tuple(kept))


def without_others(entry: Entry) -> Entry:
    """The response without the others of its URI."""
    return msgspec.structs.replace(entry, others=()) if entry.others else entry


def _replaces(new: Entry, old: Entry, headers: Sequence[Header]) -> bool:
    """Whether the old response matches the request to which the new one was sent."""
    return (old.vary == new.vary and old.variant == new.variant) or fields.variant(headers, old.vary) == old.variant


def _within_limits(others: list[Entry], tags: Set[str]) -> list[Entry]:
    """Those that fit beside a response with these tags: all variants of a URI are indexed together."""
    kept, free = [], MAX_VARIANT_BYTES
    for other in others[: MAX_VARIANTS - 1]:
        free -= other.size
        together = tags | frozenset(other.tags)
        if free >= 0 and (len(together) == len(tags) or fields.are_indexable(together)):
            kept.append(other)
            tags = together
    return kept
