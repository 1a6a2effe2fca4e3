"""One URI's answers to requests that differ in the fields Vary names (RFC 9111 section 4.1), kept as one entry."""

from collections.abc import Sequence
from typing import Final

import msgspec

from resilience.cache import fields
from resilience.cache.entry import Entry
from resilience.cache.fields import Header

MAX_VARIANTS: Final = 8
"""Answers kept for one URI. The fields are the client's to choose: without a bound it could fill the cache."""
MAX_VARIANT_BYTES: Final = 8 * 1_024 * 1_024
"""What the others of a URI may take together: each look-up brings them all."""


def select(entry: Entry, headers: Sequence[Header]) -> Entry | None:
    """The newest answer that was given to a request with these values."""
    for one in (entry, *entry.others):
        if not one.vary or fields.variant(headers, one.vary) == one.variant:
            return one
    return None


def merge(new: Entry, before: Entry | None, headers: Sequence[Header], now: float) -> Entry:
    """The new answer, to a request with these fields, with those of the URI's others that it does not replace.

    One without Vary among others with it is filed by the fields of the others: chosen for everybody, it would hide
    them (RFC 9111 section 4.1).
    """
    others = [one for one in (before, *before.others) if one.kept_until > now] if before else []
    known = next((one.vary for one in others if one.vary), ())
    if not new.vary and known:
        new = msgspec.structs.replace(new, vary=known, variant=fields.variant(headers, known))
    if not new.vary:
        return new
    kept = _bounded([without_others(one) for one in others if one.vary and not _replaces(new, one, headers)])
    return msgspec.structs.replace(new, others=tuple(kept))


def without_others(entry: Entry) -> Entry:
    """The answer without the others of its URI."""
    return msgspec.structs.replace(entry, others=()) if entry.others else entry


def _replaces(new: Entry, old: Entry, headers: Sequence[Header]) -> bool:
    """Would the old answer be chosen for the very request that the new one was given to?"""
    return (old.vary == new.vary and old.variant == new.variant) or fields.variant(headers, old.vary) == old.variant


def _bounded(others: list[Entry]) -> list[Entry]:
    kept, room = [], MAX_VARIANT_BYTES
    for one in others[: MAX_VARIANTS - 1]:
        room -= one.size
        if room >= 0:
            kept.append(one)
    return kept
