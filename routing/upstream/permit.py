"""A circuit's leave for one call: what lets it begin, and where to report how it ended."""

import asyncio

from resilience.breaker.machine import Outcome, Permit
from routing.upstream.registry import Upstream


class CallPermit:
    """For a call to `upstream`. Of a circuit that is not probed, it may be let fall unused."""

    __slots__ = ("_permit", "upstream")

    def __init__(self, upstream: Upstream, permit: Permit) -> None:
        self.upstream = upstream
        self._permit = permit

    @property
    def allows_retry(self) -> bool:
        """Whether the circuit still lets calls through. A probe's permit is for one call."""
        return self._permit.holder is None and isinstance(self.upstream.breaker.try_admit(), Permit)

    def report(self, outcome: Outcome) -> asyncio.Task[None] | None:
        """Report it: the task that tells the others, or None where nobody must know. A success while CLOSED is such."""
        return self.upstream.breaker.report(self._permit, outcome)

    async def ended(self, outcome: Outcome) -> None:
        """The same, once all who must know have been told."""
        telling = self.report(outcome)
        if telling is not None:
            await asyncio.shield(telling)
