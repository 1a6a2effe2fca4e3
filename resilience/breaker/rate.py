"""One worker's failure rate over a sliding window, without a clock or I/O.

Successes in a closed circuit are not shared, so that they cost no round trip. Each worker therefore measures its own
calls, a fair sample of the cluster's, and trips the circuit for all.
"""

from collections import deque
from typing import Final

from resilience.breaker.policy import BreakerPolicy

SLICES: Final = 10


class CallRate:
    """Calls and failures of the window in `SLICES` slices, each (number, calls, failures), oldest first."""

    __slots__ = ("calls", "failures", "slices")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.slices: deque[tuple[int, int, int]] = deque()
        self.calls = self.failures = 0

    def count(self, failed: bool, policy: BreakerPolicy, now: float) -> bool:
        """Count one call. Returns whether the failure rate has now reached the policy's."""
        current = int(now * SLICES / policy.window)
        self._drop_before(current - SLICES + 1)
        calls = failures = 0
        if self.slices and self.slices[-1][0] >= current:
            current, calls, failures = self.slices.pop()
        self.slices.append((current, calls + 1, failures + failed))
        self.calls += 1
        self.failures += failed
        return self._is_exceeded(policy)

    def _drop_before(self, oldest: int) -> None:
        while self.slices and self.slices[0][0] < oldest:
            _, calls, failures = self.slices.popleft()
            self.calls -= calls
            self.failures -= failures

    def _is_exceeded(self, policy: BreakerPolicy) -> bool:
        if policy.failure_rate is None or self.calls < policy.minimum_calls:
            return False
        return self.failures >= policy.failure_rate * self.calls
