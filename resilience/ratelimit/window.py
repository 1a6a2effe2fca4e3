"""The sliding window's arithmetic: counts by slice, oldest first, no clock and no I/O.

A slice's requests leave the window together, once the whole slice has. So no window of the policy's
length ever holds more than the limit, whenever it begins, at the price of at most one slice's delay.
"""

from collections import deque

import msgspec

from resilience.ratelimit.policy import SLICES, RatePolicy


class Decision(msgspec.Struct, frozen=True):
    """What a caller may do now. `reset` is seconds until more becomes free than `remaining`.

    `slice` is where the grant was counted, and `keep` the seconds until that slice ends.
    """

    granted: int
    remaining: int
    reset: float
    slice: int = 0
    keep: float = 0.0

    @property
    def allowed(self) -> bool:
        return self.granted > 0


class SlidingWindow:
    """One caller's requests under one policy. The Redis script keeps the same numbers in a hash."""

    __slots__ = ("slices", "total")

    def __init__(self) -> None:
        self.slices: deque[tuple[int, int]] = deque()
        self.total = 0

    def take(self, policy: RatePolicy, now: float, wanted: int = 1) -> Decision:
        """Count as many of `wanted` requests as still fit; none of them if the window is full."""
        length = policy.window / SLICES
        current = int(now / length)
        slices = self.slices
        # The slice one window ago may have ended less than a window ago: it still counts.
        if slices and slices[0][0] < current - SLICES:
            self._forget_before(current - SLICES)
        free = policy.limit - self.total
        granted = wanted if wanted <= free else max(0, free)
        if granted:
            self._count(current, granted)
        reset = (slices[0][0] + SLICES + 1) * length - now if slices else 0.0
        return Decision(granted, max(0, free - granted), max(0.0, reset), current, (current + 1) * length - now)

    def give_back(self, taken: int, count: int) -> None:
        """Uncount `count` of what slice `taken` holds; nothing, once it has left the window."""
        for position, (index, held) in enumerate(self.slices):
            if index == taken:
                count = min(count, held)
                self.total -= count
                self.slices[position] = (index, held - count)
                break
        self.slices = deque(pair for pair in self.slices if pair[1])

    def _forget_before(self, oldest: int) -> None:
        slices = self.slices
        while slices and slices[0][0] < oldest:
            self.total -= slices.popleft()[1]

    def _count(self, current: int, granted: int) -> None:
        self.total += granted
        if self.slices and self.slices[-1][0] >= current:
            index, count = self.slices[-1]
            self.slices[-1] = (index, count + granted)
        else:
            self.slices.append((current, granted))
