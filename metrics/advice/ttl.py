"""Advice on how long responses are kept in the cache. Pure."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from metrics.advice.estimate import change_rate, outdated_share, step_below

MIN_PAIRS: Final = 20
"""With fewer repeated fetches, there is no advice on a route."""
MIN_SAVED: Final = 10.0
"""A longer lifetime is advised only if it saves this many calls a day."""
CHANGES_PER_LIFETIME: Final = 1 / 8
"""Changes to expect in an advised lifetime: a response is then outdated for at most 6 % of the time."""
TOO_OUTDATED: Final = 0.35
"""A shorter lifetime is advised if a response is outdated for more than this share of the time."""
RULE_OF_THREE: Final = 3.0
"""If no response changed, the rate is below three changes in the observed time, with 95 % confidence."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was observed of a route in `days`.

    `same` and `changed` are numbers of repeated fetches by the seconds since the previous one: of responses that were
    the same, and that had changed. `requests`, and `cached` for those answered from the cache, are of the same days; 0
    where they are not counted.
    """

    same: Mapping[float, int]
    changed: Mapping[float, int]
    days: float
    requests: int = 0
    cached: int = 0

    @property
    def pairs(self) -> int:
        return sum(self.same.values()) + self.changes

    @property
    def changes(self) -> int:
        return sum(self.changed.values())

    @property
    def seconds(self) -> float:
        """The sum of all intervals."""
        return sum(interval * number for part in (self.same, self.changed) for interval, number in part.items())


class TtlAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """`ttl` is the advised lifetime in seconds; None if all fetches differ, so that none can be advised.

    `calls` is how many calls a day it saves, negative if it takes more. `every` is the seconds between two changes,
    None if none was seen. `outdated` and `outdated_now` are the shares of the time, with that lifetime and with the
    present one.
    """

    ttl: int | None
    calls: float = 0.0
    every: float | None = None
    outdated: float = 0.0
    outdated_now: float = 1.0


def advise(evidence: Evidence, ttl: float) -> TtlAdvice | None:
    """The advice for a route whose responses are fresh for `ttl` seconds now; None if that is right, or too little was
    observed.
    """
    if evidence.pairs < MIN_PAIRS or ttl <= 0 or evidence.days <= 0:
        return None
    rate = change_rate(evidence.same, evidence.changed)
    if rate is None:
        return TtlAdvice(ttl=None)
    # The fewer changes were seen, the less certain the rate is: assume a faster one.
    cautious = rate * (1 + 1 / math.sqrt(evidence.changes)) if evidence.changes else RULE_OF_THREE / evidence.seconds
    target, outdated_now = step_below(CHANGES_PER_LIFETIME / cautious), outdated_share(ttl, rate)
    calls = _saved_calls(evidence, ttl, target)
    is_longer = target >= 2 * ttl and calls >= MIN_SAVED
    is_shorter = target <= ttl / 2 and outdated_now > TOO_OUTDATED
    if not (is_longer or is_shorter):
        return None
    return TtlAdvice(
        ttl=target,
        calls=calls,
        every=1 / rate if rate else None,
        outdated=outdated_share(target, cautious),
        outdated_now=outdated_now,
    )


def _saved_calls(evidence: Evidence, ttl: float, target: float) -> float:
    """Calls saved in a day.

    The first request after a response has expired fetches it again. The time between two fetches is therefore the
    lifetime, and the time until that request, which does not depend on the lifetime.
    """
    between = evidence.seconds / evidence.pairs
    if evidence.cached:
        # A worker sees only its own fetches, so its intervals are too long. Hits for each fetch bound them.
        fetches = max(0, evidence.requests - evidence.cached)
        between = min(between, ttl * (1 + fetches / evidence.cached))
    between = max(between, ttl)
    return evidence.pairs / evidence.days * (1 - between / (between + target - ttl))
