"""A call to a backend: the permission for it, and what has to be reported when its outcome is known."""

import asyncio
from typing import Final

from resilience.breaker.machine import Outcome, Permit
from routing.backend.client import BackendResponse
from routing.balancing.rules import TargetState
from routing.errors import BadGateway, UpstreamTimeout
from routing.router.policy import Target
from routing.upstream.bulkhead import Bulkhead
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


_BROKEN_OFF: Final = frozenset({BadGateway.code, UpstreamTimeout.code})
"""Codes of bodies that the backend cut short."""


class BackendCall:
    """`response` has its header fields; its body is still to come. The call has a slot in `bulkhead`."""

    __slots__ = ("_bulkhead", "_permit", "_target_state", "response")

    def __init__(
        self, response: BackendResponse, permit: CallPermit, target_state: TargetState, bulkhead: Bulkhead
    ) -> None:
        self.response = response
        self._permit = permit
        self._target_state = target_state
        self._bulkhead = bulkhead

    @property
    def target(self) -> Target:
        """The target that sent the response."""
        return self._target_state.target

    def finish(self, aborted: str) -> None:
        """The body has ended. One that the backend cut short counts against its target and its circuit.

        `aborted` is why the body stopped short, empty if it did not.
        """
        balancer = self._permit.upstream.balancer
        self._bulkhead.leave()
        balancer.release(self._target_state)
        if aborted in _BROKEN_OFF:
            balancer.failed(self._target_state, "the response was cut short", no_response=True)
            self._permit.report(Outcome.FAILURE)

    def release_target(self) -> None:
        """Release the target alone: the call keeps its slot, but no longer counts as load of its target."""
        self._permit.upstream.balancer.release(self._target_state)

    async def discard(self) -> None:
        """Close the response without reading its body."""
        await self.response.aclose()
        self.finish("")
