"""A circuit's leave for one call: what lets it begin, and where to report how it ended."""

import asyncio

from resilience.breaker.driver import Breaker
from resilience.breaker.machine import Outcome, Permit


class Leave:
    """Of a circuit that is not probed, it may be let fall unused."""

    __slots__ = ("_breaker", "_permit")

    def __init__(self, breaker: Breaker, permit: Permit) -> None:
        self._breaker = breaker
        self._permit = permit

    @property
    def may_repeat(self) -> bool:
        """Whether the circuit still lets calls through. A probe's permit is for one call."""
        return self._permit.holder is None and isinstance(self._breaker.admit_now(), Permit)

    def ends(self, outcome: Outcome) -> asyncio.Task[None] | None:
        """Report it: the task that tells the others, or None where nobody must know. A success while CLOSED is such."""
        return self._breaker.report(self._permit, outcome)

    async def ended(self, outcome: Outcome) -> None:
        """The same, once all who must know have been told."""
        telling = self.ends(outcome)
        if telling is not None:
            await asyncio.shield(telling)
