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
    """One caller's requests under one policy. The Redis script keeps the same numbers in a hash.

    What follows from the slice that is counted in is worked out once, when it begins. A clock that is set back goes on
    counting in the latest.
    """

    __slots__ = ("_begins", "_count", "_ends", "_index", "_older", "_resets", "_total")

    def __init__(self) -> None:
        self._older: deque[tuple[int, int]] = deque()
        self._index = 0
        self._count = 0
        self._total = 0
        self._begins = self._ends = self._resets = 0.0

    def take(self, policy: RatePolicy, now: float, wanted: int = 1) -> Decision:
        """Count as many of `wanted` (at least 1) requests as still fit; none of them if the window is full."""
        if not self._begins <= now < self._ends:
            self._turn(policy.window / SLICES, now)
        free = policy.limit - self._total
        granted = wanted if wanted <= free else max(0, free)
        self._count += granted
        self._total += granted
        return Decision(granted, free - granted, self._resets - now, self._index, self._ends - now)

    def refund(self, taken: int, count: int) -> None:
        """Uncount `count` of what slice `taken` holds; nothing, once it has left the window."""
        if taken == self._index:
            count = min(count, self._count)
            self._count -= count
            self._total -= count
            return
        for position, (index, held) in enumerate(self._older):
            if index == taken:
                count = min(count, held)
                self._total -= count
                self._older[position] = (index, held - count)
                break
        self._older = deque(pair for pair in self._older if pair[1])
        self._ends = 0.0  # so that what follows from the oldest is worked out anew

    def _turn(self, length: float, now: float) -> None:
        """Another slice begins, `length` seconds long."""
        index = max(self._index, int(now / length))
        if index > self._index and self._count:
            self._older.append((self._index, self._count))
            self._count = 0
        # The slice one window ago may have ended less than a window ago: it still counts.
        while self._older and self._older[0][0] < index - SLICES:
            self._total -= self._older.popleft()[1]
        oldest = self._older[0][0] if self._older else index
        self._index = index
        self._begins, self._ends = min(now, index * length), (index + 1) * length
        self._resets = (oldest + SLICES + 1) * length
