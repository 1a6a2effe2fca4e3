"""Reports the outcome of a call to the service's circuit breaker."""

import asyncio
from http import HTTPStatus
from typing import Final

from resilience.breaker.machine import Outcome, judge
from resilience.statuses import FAILURE_STATUSES
from routing.backend.client import BackendResponse
from routing.errors import CallFailed, GatewayError, Overloaded, RequestTimeout
from routing.exchange import Exchange
from routing.messages.outcome import OutcomeClass
from routing.messages.request_body import Upload
from routing.steps.retries import is_clients_fault
from routing.upstream.call import BackendCall, CallPermit

_CIRCUIT_OUTCOMES: Final = {
    OutcomeClass.FAILED: Outcome.FAILURE,
    OutcomeClass.LIMITED: Outcome.CANCELLED,
    OutcomeClass.OURS: Outcome.CANCELLED,
}
"""What the class of a response says about the service.

An error of the caller's (`OutcomeClass.CALLERS`) shows that the service works, unless the response was slow.
"""


async def report_failure(exchange: Exchange, permit: CallPermit, error: BaseException) -> None:
    """Report a call that ended without a response, and record why.

    Only CallFailed is a failure of the service. Any other error, or a cancellation, says nothing about it.
    """
    if not isinstance(error, GatewayError):
        permit.report(Outcome.CANCELLED)
        return
    error.service = exchange.service
    exchange.call.error = error.code
    if isinstance(error, CallFailed | Overloaded):
        exchange.call.reason = error.reason
    await permit.report_and_wait(Outcome.FAILURE if isinstance(error, CallFailed) else Outcome.CANCELLED)


def circuit_outcome(exchange: Exchange, response: BackendResponse, upload: Upload | None, seconds: float) -> Outcome:
    """What a response says about the service. `seconds` is the time to its head, less what the client's upload took."""
    outcome, policy = exchange.call.outcome, exchange.match.policy.breaker
    if outcome is not None:
        return _CIRCUIT_OUTCOMES.get(outcome) or judge(policy, HTTPStatus.OK, seconds)
    if response.status in FAILURE_STATUSES and is_clients_fault(response, upload):
        exchange.call.error = RequestTimeout.code
        return Outcome.CANCELLED
    return judge(policy, response.status, seconds)


async def wait_until_reported(call: BackendCall, reporting: "asyncio.Task[None]") -> None:
    """Wait until the cluster knows the outcome; on cancellation nobody needs the response any more."""
    try:
        await asyncio.shield(reporting)
    except BaseException:
        await call.discard()
        raise
