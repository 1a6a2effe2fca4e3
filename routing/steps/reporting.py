"""What a call has shown of its service, reported to the circuit."""

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
"""What a response's class says about the service. One of the caller's shows that it works, unless it is slow."""


async def report_failure(exchange: Exchange, permit: CallPermit, error: BaseException) -> None:
    """Report a call without a response, and record why there is none."""
    if not isinstance(error, GatewayError):
        permit.report(Outcome.CANCELLED)
        return
    error.service = exchange.service
    exchange.call.error = error.code
    outcome = Outcome.CANCELLED
    if isinstance(error, CallFailed):
        exchange.call.reason, outcome = error.reason, Outcome.FAILURE
    elif isinstance(error, Overloaded):
        exchange.call.reason = error.reason
    await permit.report_and_wait(outcome)


def circuit_outcome(exchange: Exchange, response: BackendResponse, upload: Upload | None, seconds: float) -> Outcome:
    """What a response says about the service. `seconds` is the time until its head, without its client's share."""
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
