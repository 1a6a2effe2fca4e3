"""The sliding window algorithm: counts by slice, without a clock or I/O.

The requests of a slice leave the window together, when the whole slice has left it. So no window of the policy's length
holds more than the limit, wherever it begins, at the price of a delay of at most one slice.
"""

from collections import deque

import msgspec

from resilience.ratelimit.policy import SLICES, RatePolicy


class Decision(msgspec.Struct, frozen=True):
    """How many requests were granted, and how many remain. `reset` is the seconds until more than `remaining` are free.

    `slice` is the slice in which they were counted, which ends in `expires_in` seconds.
    """

    granted: int
    remaining: int
    reset: float
    slice: int = 0
    expires_in: float = 0.0

    @property
    def allowed(self) -> bool:
        return self.granted > 0


class SlidingWindow:
    """One caller's requests under one policy; the Redis script keeps the same numbers in a hash.

    The values that depend on the current slice are computed once, when it begins. If the clock is set back, counting
    continues in the latest slice; by more than a window, it begins anew, as in Redis: else a caller that has used up
    its limit would be refused until the clock is where it was.
    """

    __slots__ = ("_begins", "_count", "_ends", "_index", "_older", "_resets", "_total")

    def __init__(self) -> None:
        self._older: deque[tuple[int, int]] = deque()
        self._index = 0
        self._count = 0
        self._total = 0
        self._begins = self._ends = self._resets = 0.0

    def take(self, policy: RatePolicy, now: float, wanted: int = 1) -> Decision:
        """Count as many of `wanted` requests as the limit allows; none to know what remains."""
        if not self._begins <= now < self._ends:
            self._begin_slice(policy.window / SLICES, now)
        free = policy.limit - self._total
        granted = wanted if wanted <= free else max(0, free)
        self._count += granted
        self._total += granted
        return Decision(granted, free - granted, self._resets - now, self._index, self._ends - now)

    def refund(self, taken: int, count: int) -> None:
        """Uncount up to `count` requests of slice `taken`, unless it has left the window."""
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
        self._ends = 0.0  # so that the values that depend on the oldest slice are computed again

    def _begin_slice(self, length: float, now: float) -> None:
        """Begin the slice of `length` seconds that contains `now`."""
        index = int(now / length)
        if index < self._index - SLICES:
            self._older.clear()
            self._count = self._total = 0
            self._index = index
        index = max(self._index, index)
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
