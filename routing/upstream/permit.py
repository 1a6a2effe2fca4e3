"""Permission for one call: granted by the service's circuit, and where the call's outcome is reported."""

import asyncio

from resilience.breaker.machine import Outcome, Permit
from routing.upstream.registry import Upstream


class CallPermit:
    """Permission for one call to `upstream`. Unless it is a half-open probe, it may be dropped unused."""

    __slots__ = ("_permit", "upstream")

    def __init__(self, upstream: Upstream, permit: Permit) -> None:
        self.upstream = upstream
        self._permit = permit

    @property
    def allows_retry(self) -> bool:
        """Whether the circuit still lets calls through. A half-open probe is for one call."""
        return self._permit.holder is None and isinstance(self.upstream.breaker.try_admit(), Permit)

    def report(self, outcome: Outcome) -> asyncio.Task[None] | None:
        """Report the outcome: the task that notifies the cluster, or None where it need not know, as of a success while
        the circuit is CLOSED.
        """
        return self.upstream.breaker.report(self._permit, outcome)

    async def report_and_wait(self, outcome: Outcome) -> None:
        """The same, and wait until the cluster knows."""
        await self.upstream.breaker.report_and_wait(self._permit, outcome)
