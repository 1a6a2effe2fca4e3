"""What a response means for its service: by its route's `outcome`, and for a 429 without one."""

from typing import Final

from resilience.holdoff.waits import announced_wait
from routing.backend.buffered_body import peek_body
from routing.backend.client import BackendResponse
from routing.messages.conditions import MAX_BODY, may_be_judged
from routing.messages.outcome import OutcomeClass
from routing.router.policy import RoutePolicy

TOO_MANY_REQUESTS: Final = 429
WITHOUT_WHOLE_BODY: Final = frozenset({101, 204, 205, 206, 304})
"""Statuses of responses that have no body, or only a part of one."""


def is_judged(policy: RoutePolicy, status: int) -> bool:
    """Whether a response with this status may have a class, or is of a service whose limits are of interest."""
    return status == TOO_MANY_REQUESTS or policy.outcome is not None or policy.outbound is not None


async def judge(policy: RoutePolicy, method: str, response: BackendResponse, now: float) -> OutcomeClass | None:
    """The response's class. Reads the body where it decides; the response can be passed on as if it were unread.

    Without a condition for it, a 429 that says when to come back is LIMITED. Raises what reading the body raises.
    """
    status, headers, outcome = response.status, response.headers, policy.outcome
    found = None
    if outcome is not None:
        body = None
        has_body = method != "HEAD" and status not in WITHOUT_WHOLE_BODY
        if has_body and outcome.needs_body_of(status, headers) and may_be_judged(headers):
            body = await peek_body(response, MAX_BODY)
        found = outcome.classify(status, headers, body)
    if found is None and status == TOO_MANY_REQUESTS and policy.hold_off is not None:
        return OutcomeClass.LIMITED if announced_wait(headers, now) is not None else None
    return found
