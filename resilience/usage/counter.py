"""One counter of a quota, and how it counts. Pure; the Redis scripts do the same.

A counter gets a new `generation` whenever it is filled from the database, so that the code that saves what was counted
knows whether the counter was filled before that was saved, or after.
"""

from typing import Final, NamedTuple

import msgspec

from resilience.usage.periods import Period

NEAR: Final = 80
"""Percent of the limit at which the first event is sent; the second is at 100."""
SHARE_OF_FREE: Final = 100
"""A worker takes at most one token in advance per this many that are free."""
LEASE_SECONDS: Final = 0.25
"""After this time, tokens that were taken in advance have been used or given back."""


class Counter(msgspec.Struct):
    """`used` of the amount and `extra`. It began at `since` and ends at `ends`, as Unix time.

    `warned` is the last threshold that was reached, in percent. Until `leased_until`, workers may have spare tokens.
    """

    used: int = 0
    extra: int = 0
    since: int = 0
    ends: int = 0
    warned: int = 0
    generation: str = ""
    leased_until: float = 0.0


class Take(msgspec.Struct, frozen=True):
    """`granted` requests were counted; `counter` is the state after it, and `now` the store's clock.

    `crossed` is the threshold that was reached, 0 for none. Within `retry_in` seconds, tokens may be given back.
    """

    granted: int
    counter: Counter
    now: float
    crossed: int = 0
    retry_in: float = 0.0


class Allowance(NamedTuple):
    """A quota's amount, and the period that is current."""

    amount: int
    period: Period


class OtherPeriod(Exception):
    """By the store's clock, `now`, another period is current."""

    def __init__(self, now: float) -> None:
        super().__init__(now)
        self.now = now


class Missing(Exception):
    """There is no counter yet: it has to be filled from the database."""


def begin_period(counter: Counter, period: Period, now: float) -> None:
    """Count from zero if the counter's period has ended. A period that ends otherwise, by another plan, keeps its use.

    Raises OtherPeriod.
    """
    if not period.starts <= now < period.ends:
        raise OtherPeriod(now)
    if now >= counter.ends:
        counter.used = counter.extra = counter.warned = 0
        counter.since, counter.leased_until = period.starts, 0.0
    counter.ends = period.ends


def take(counter: Counter, quota: Allowance, wanted: int, spare: int, now: float) -> Take:
    """Count `wanted` requests, as far as the limit allows, and up to `spare` more in advance. Raises OtherPeriod."""
    begin_period(counter, quota.period, now)
    limit = quota.amount + counter.extra
    free = max(0, limit - counter.used)
    granted = min(wanted, free)
    ahead = min(spare, (free - granted) // SHARE_OF_FREE)
    if ahead:
        counter.leased_until = now + LEASE_SECONDS
    counter.used += granted + ahead
    crossed = _crossed(counter, limit) if granted else 0
    counter.warned = max(counter.warned, crossed)
    # Bounded, since the clock may have been set back meanwhile.
    retry_in = min(max(0.0, counter.leased_until - now), LEASE_SECONDS) if granted < wanted else 0.0
    return Take(granted + ahead, msgspec.structs.replace(counter), now, crossed, retry_in)


def adjust(counter: Counter, quota: Allowance, used: int | None, extra: int, now: float) -> Take:
    """Refund `used` requests, or all if it is None, and raise the limit of this period by `extra`.

    `granted` of the result is the change of what is used. Raises OtherPeriod.
    """
    begin_period(counter, quota.period, now)
    before = counter.used
    counter.used = 0 if used is None else max(0, counter.used - used)
    counter.extra += extra
    limit = quota.amount + counter.extra
    reached = 100 if counter.used >= limit else NEAR if counter.used * 100 >= limit * NEAR else 0
    counter.warned = min(counter.warned, reached)
    return Take(counter.used - before, msgspec.structs.replace(counter), now)


def _crossed(counter: Counter, limit: int) -> int:
    if counter.used >= limit and counter.warned < 100:
        return 100
    return NEAR if counter.used * 100 >= limit * NEAR and counter.warned < NEAR else 0
