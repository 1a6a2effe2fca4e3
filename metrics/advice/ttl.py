"""Advice on how long responses are kept in the cache. Pure."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from metrics.advice.estimate import change_rate, outdated_share, step_below

MIN_PAIRS: Final = 20
"""Repeated fetches below which nothing is said of a route."""
MIN_SAVED: Final = 10.0
"""Calls a day below which a longer lifetime is not worth it."""
CHANGES_PER_LIFETIME: Final = 1 / 8
"""So that a response is outdated for at most 6 % of the time."""
TOO_OUTDATED: Final = 0.35
"""The share of the time from which on a shorter lifetime is advised."""
RULE_OF_THREE: Final = 3.0
"""Where none has changed, the rate is below three changes in the time seen, with 95 % confidence."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a route: the numbers of repeated fetches by the seconds since the one before, of responses that
    were the `same` or had `changed`, over so many `days`. `requests` and those answered from the cache, `cached`, are
    of the same days; 0 where they are not counted.
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
    """`ttl` is that which is advised, in seconds. `calls` is how many calls it saves in a day, negative for how many
    more it takes. `every` is the time between two changes, None if none was seen; `outdated` and `outdated_now` are
    shares of the time. A `ttl` of None: all fetches differ, so that nothing can be advised.
    """

    ttl: int | None
    calls: float = 0.0
    every: float | None = None
    outdated: float = 0.0
    outdated_now: float = 1.0


def advise(evidence: Evidence, ttl: float) -> TtlAdvice | None:
    """None if the present `ttl`, in seconds, is as it should be, or too little is known."""
    if evidence.pairs < MIN_PAIRS or ttl <= 0 or evidence.days <= 0:
        return None
    rate = change_rate(evidence.same, evidence.changed)
    if rate is None:
        return TtlAdvice(ttl=None)
    # The fewer changes were seen, the faster they may be.
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
    """In a day. A response is fetched again by the first request after it has expired: what lies between two fetches is
    its lifetime, and the time until that request, which stays the same.
    """
    between = evidence.seconds / evidence.pairs
    if evidence.cached:
        # A worker sees its own fetches only, and so longer intervals; hits for each fetch tell how often it is asked.
        fetches = max(0, evidence.requests - evidence.cached)
        between = min(between, ttl * (1 + fetches / evidence.cached))
    between = max(between, ttl)
    return evidence.pairs / evidence.days * (1 - between / (between + target - ttl))
