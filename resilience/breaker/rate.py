"""One worker's share of failed calls over a sliding window: no clock and no I/O.

A success costs the cluster nothing while the circuit is closed, so successes are never shared: each worker
judges the rate of its own calls, a fair sample of all of them, and trips the circuit of the whole cluster.
"""

from collections import deque
from typing import Final

from resilience.breaker.policy import BreakerPolicy

SLICES: Final = 10


class CallRate:
    __slots__ = ("calls", "failures", "slices")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.slices: deque[tuple[int, int, int]] = deque()
        self.calls = self.failures = 0

    def count(self, failed: bool, policy: BreakerPolicy, now: float) -> bool:
        """Count one call; True when the rate of failures is now more than the policy bears."""
        current = int(now * SLICES / policy.window)
        self._forget_before(current - SLICES + 1)
        calls = failures = 0
        if self.slices and self.slices[-1][0] >= current:
            current, calls, failures = self.slices.pop()
        self.slices.append((current, calls + 1, failures + failed))
        self.calls += 1
        self.failures += failed
        return self._too_many(policy)

    def _forget_before(self, oldest: int) -> None:
        while self.slices and self.slices[0][0] < oldest:
            _, calls, failures = self.slices.popleft()
            self.calls -= calls
            self.failures -= failures

    def _too_many(self, policy: BreakerPolicy) -> bool:
        if policy.failure_rate is None or self.calls < policy.minimum_calls:
            return False
        return self.failures >= policy.failure_rate * self.calls
