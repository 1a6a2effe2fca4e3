"""A call whose response has begun, and what has to be reported when its body ends."""

from typing import Final

from resilience.breaker.machine import Outcome
from routing.backend.client import BackendResponse
from routing.balancing.rules import TargetState
from routing.errors import BadGateway, UpstreamTimeout
from routing.router.policy import Target
from routing.upstream.bulkhead import Bulkhead
from routing.upstream.permit import CallPermit

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
        """In place of `finish`, for a call that keeps its slot, and is no longer load of its target."""
        self._permit.upstream.balancer.release(self._target_state)

    async def discard(self) -> None:
        """Close the response without reading its body."""
        await self.response.aclose()
        self.finish("")
