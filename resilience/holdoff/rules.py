"""The rules of hold-offs, as pure functions of (hold-off, policy, now). `now` is Unix seconds.

A hold-off refuses all calls of its partition until it ends. Then one call in the cluster is a probe; the others are
refused until it has returned. A limited probe begins the next hold-off, any other response lifts it.
"""

from typing import Final, NamedTuple

import msgspec

from resilience.holdoff.policy import HoldOffPolicy

PROBE_SECONDS: Final = 1.0
"""`retry_after` while a probe is in flight: it usually ends long before its lease."""
KEPT_SECONDS: Final = 3_600.0
"""How long after its end a hold-off is kept until a call becomes its probe."""
JITTER: Final = 0.25
"""The share by which a hold-off is extended at random if the backend named no time, so that probes are spread."""
MAX_DOUBLINGS: Final = 20
MAX_UNANNOUNCED_SECONDS: Final = 64.0
"""The longest hold-off if the backend names no time, unless `base` is longer. A request may exceed a limit by itself,
such as one with too many tokens: repeated, it is limited each time, and other calls must not be refused for long.
"""


class HoldOff(msgspec.Struct, frozen=True):
    """`strikes` are the limited responses in a row, of which none was sent during the hold-off that another began.

    `holder` is the probe's, which has a lease until `leased_until`.
    """

    since: float
    until: float
    strikes: int = 1
    holder: str = ""
    leased_until: float = 0.0

    def is_held(self, now: float) -> bool:
        return now < self.until

    def has_lapsed(self, now: float) -> bool:
        return now >= self.until + KEPT_SECONDS


class Swap(NamedTuple):
    """Whether a hold-off was replaced, and the one that is stored now."""

    made: bool
    stored: HoldOff | None


def limited(current: HoldOff | None, policy: HoldOffPolicy, wait: float | None, now: float, spread: float) -> HoldOff:
    """After a limited response, which demands to wait for `wait` seconds. The latest end of all wins.

    `spread` is a random number from 0 to 1.
    """
    if current is not None and current.has_lapsed(now):
        current = None
    if current is not None and current.is_held(now):
        if wait is None:
            return current
        return msgspec.structs.replace(current, until=max(current.until, now + min(wait, policy.max)))
    strikes = 1 if current is None else current.strikes + 1
    if wait is None:
        longest = max(policy.base, MAX_UNANNOUNCED_SECONDS)
        wait = min(policy.base * 2.0 ** min(strikes - 1, MAX_DOUBLINGS), longest) * (1 + JITTER * spread)
    return HoldOff(now if current is None else current.since, now + min(wait, policy.max), strikes)


def retry_after(current: HoldOff, now: float) -> float | None:
    """Seconds until a call may be made; None if this call may be the probe."""
    if current.is_held(now):
        return current.until - now
    if current.holder and now < current.leased_until:
        return min(PROBE_SECONDS, current.leased_until - now)
    return None


def leased(current: HoldOff, holder: str, seconds: float, now: float) -> HoldOff:
    """The hold-off with a probe by `holder` in flight, for at most `seconds`."""
    return msgspec.structs.replace(current, holder=holder, leased_until=now + seconds)


def released(current: HoldOff, holder: str) -> HoldOff:
    """The hold-off after a probe that showed nothing: the next call may be one."""
    return msgspec.structs.replace(current, holder="", leased_until=0.0) if current.holder == holder else current
