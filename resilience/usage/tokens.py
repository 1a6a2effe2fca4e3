"""What one worker holds of a quota between its calls to the store."""

import asyncio

from resilience.usage.counter import Counter
from resilience.usage.meter import QuotaVerdict


class Tokens:
    """What this worker knows of one counter. `budget` is its share while the store is unavailable; times are by its
    timer.
    """

    __slots__ = ("budget", "count", "counter", "denied_until", "ends", "expires", "refilling", "spare", "waiters")

    def __init__(self) -> None:
        self.count = 0
        self.expires = 0.0
        self.ends = 0.0
        self.spare = 0
        self.denied_until = 0.0
        self.counter = Counter()
        self.budget: int | None = None
        self.waiters: list[asyncio.Future[QuotaVerdict]] = []
        self.refilling = False
