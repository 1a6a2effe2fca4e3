"""Sliding windows in this process, bounded by evicting the least recently used."""

from collections import OrderedDict
from typing import Final

from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision, SlidingWindow

MAX_CALLERS: Final = 100_000


class MemoryStore:
    def __init__(self, callers: int = MAX_CALLERS) -> None:
        self._callers = callers
        self._windows: OrderedDict[str, SlidingWindow] = OrderedDict()

    async def take(self, key: str, policy: RatePolicy, now: float, wanted: int) -> Decision:
        return self.try_take(key, policy, now, wanted)

    async def refund(self, key: str, taken: int, count: int) -> None:
        self.give_back(key, taken, count)

    def give_back(self, key: str, taken: int, count: int = 1) -> None:
        """Like `refund`, without waiting."""
        window = self._windows.get(key)
        if window is not None:
            window.refund(taken, count)

    def peek(self, key: str, policy: RatePolicy, now: float) -> Decision:
        """What remains, without counting a request."""
        window = self._windows.get(key)
        return (SlidingWindow() if window is None else window).take(policy, now, 0)

    def try_take(self, key: str, policy: RatePolicy, now: float, wanted: int) -> Decision:
        """Like `take`, without waiting."""
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = SlidingWindow()
            if len(self._windows) > self._callers:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(key)
        return window.take(policy, now, wanted)
