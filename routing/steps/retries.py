"""Retries: repeat a call where that is safe, within the budget and the deadline."""

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

from resilience.statuses import FAILURE_STATUSES, INCONCLUSIVE_STATUSES
from routing.backend.client import BackendResponse, Call, Sender
from routing.backend.timers import SLOW_CLIENT_SECONDS
from routing.balancing.rules import TargetState
from routing.errors import BadGateway, CallFailed, UpstreamTimeout
from routing.exchange import Exchange
from routing.http import IDEMPOTENCY_KEY, Request, first
from routing.messages.outcome import OutcomeClass
from routing.messages.request_body import Upload
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.steps.backend_limits import BackendLimits
from routing.steps.judging import is_judged, judge
from routing.upstream.call import CallPermit

RETRY_ELSEWHERE: Final = frozenset({502, 503, 504})
"""Statuses that another target may not return; a 500 is more likely due to the request."""
BACKOFF_SECONDS: Final = 0.05
MAX_BACKOFF_SECONDS: Final = 1.0
"""A retry waits a random time up to the first, the next one up to twice as long, and so on up to the second."""


class RetryState:
    """One request's attempts so far."""

    __slots__ = ("_deadline", "call", "clock", "exchange", "fault", "permit", "policy", "tried", "upload")

    def __init__(
        self, exchange: Exchange, permit: CallPermit, call: Call, upload: Upload | None, clock: Callable[[], float]
    ) -> None:
        self.exchange = exchange
        self.permit = permit
        self.call = call
        self.upload = upload
        self.policy = exchange.match.policy
        self.clock = clock
        self._deadline = clock() + self.policy.timeout.total
        self.tried: list[TargetState] = []
        self.fault = ""
        """Why the last attempt is to be repeated."""

    @property
    def deadline(self) -> float:
        """The end of all attempts, in the event loop's time: later by the time that the client took to send."""
        return self._deadline if self.upload is None else self._deadline + self.upload.waited

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - self.clock()

    @property
    def balanced_by(self) -> str:
        """What decides whether a canary serves the request."""
        caller = self.exchange.caller
        return caller.id if caller else self.exchange.request.client

    def begin(self) -> TargetState:
        """Pick the next attempt's target, and set its time-out and its body, which is sent from the beginning."""
        exchange = self.exchange
        left = self.left if self.tried else self.policy.timeout.total
        self.call.timeout_ms = None if left == inf else max(1, int(left * 1000))
        if self.upload is not None:
            self.call.body, self.call.source = self.upload.chunks(), self.upload
        state = self.permit.upstream.balancer.pick(self.tried, self.balanced_by)
        exchange.call.target = state.target
        self.tried.append(state)
        return state


class Attempts:
    """Calls to every service's targets."""

    def __init__(self, limits: BackendLimits, emit: EventSink, timer: Callable[[], float] = time.perf_counter) -> None:
        self._limits = limits
        self._emit = emit
        self._timer = timer
        self._clock: Callable[[], float] | None = None  # the event loop's, which is one for all calls

    async def send(
        self, sender: Sender, exchange: Exchange, permit: CallPermit, call: Call, upload: Upload | None
    ) -> tuple[BackendResponse, TargetState]:
        """The last attempt's response, and its target, to be released when the response's body has ended.

        Raises BadGateway, UpstreamTimeout, or what the client's body raises.
        """
        if self._clock is None:
            self._clock = asyncio.get_running_loop().time
        retry = RetryState(exchange, permit, call, upload, self._clock)
        policy = retry.policy
        permit.upstream.budget.deposit(policy.retries.budget)
        while True:
            state = retry.begin()
            try:
                response = await sender.send(state.target, call, policy.timeout, retry.deadline)
                if is_judged(policy, response.status):
                    self._limits.note(exchange, response)
                    now = self._limits.hold_offs.clock()
                    exchange.call.outcome = await judge(policy, exchange.request.method, response, now)
            except BaseException as error:
                backoff = self._failed(retry, state, error)
                if backoff is None or not await self._may_begin(retry, backoff):
                    raise
            else:
                backoff = self._responded(retry, state, response)
                if backoff is None or not await self._replaces(retry, backoff, state, response):
                    return response, state
            exchange.call.outcome = None

    async def _may_begin(self, retry: RetryState, backoff: float) -> bool:
        """Wait before a retry. False if an outbound limit, under which it counts as any call, does not allow it in
        time: then the result so far is the call's.
        """
        exchange = retry.exchange
        await asyncio.sleep(backoff)
        if retry.policy.outbound is not None and not await self._limits.permits_retry(exchange, retry.left):
            retry.permit.upstream.budget.deposit(1.0)
            return False
        exchange.call.retries += 1
        url, service = retry.tried[-1].target.url, exchange.service
        self._emit(BackendEvent(kind=BackendEventKind.RETRIED, service=service, target=url, detail=retry.fault))
        return True

    async def _replaces(self, retry: RetryState, backoff: float, state: TargetState, response: BackendResponse) -> bool:
        """The same after a response, which is discarded if it is to be replaced by that of the retry."""
        may_begin = True
        try:
            may_begin = await self._may_begin(retry, backoff)
        finally:
            if may_begin:
                retry.permit.upstream.balancer.release(state)
                await response.aclose()
        return may_begin

    def _failed(self, retry: RetryState, state: TargetState, error: BaseException) -> float | None:
        """Seconds until the next attempt after one without a response; None if there is no next one."""
        balancer = retry.permit.upstream.balancer
        balancer.release(state)
        if not isinstance(error, CallFailed):
            return None
        if not error.unsent:
            retry.exchange.call.sent = True
        balancer.failed(state, error.reason, no_response=True)
        self._mark(retry, f"{error.code} ({error.reason})")
        if not _is_safe(retry, error):
            return None
        return self._backoff(retry, error.reason, elsewhere=isinstance(error, UpstreamTimeout))

    def _responded(self, retry: RetryState, state: TargetState, response: BackendResponse) -> float | None:
        """The same after an attempt with a response."""
        balancer, status = retry.permit.upstream.balancer, response.status
        if retry.exchange.step_log is not None:
            self._mark(retry, str(status))
        if retry.exchange.call.outcome is not None:
            return self._classed(retry, state, response, retry.exchange.call.outcome)
        if status not in FAILURE_STATUSES:
            if status not in INCONCLUSIVE_STATUSES:
                balancer.succeeded(state)
            return None
        retry.exchange.call.sent = True
        if is_clients_fault(response, retry.upload):
            return None
        balancer.failed(state, str(status), no_response=False)
        if status not in RETRY_ELSEWHERE or not _is_safe(retry, None):
            return None
        return self._backoff(retry, str(status), elsewhere=True)

    def _classed(
        self, retry: RetryState, state: TargetState, response: BackendResponse, outcome: OutcomeClass
    ) -> float | None:
        """The same after a response whose class says more than its status: the same target may well do better."""
        balancer, fault = retry.permit.upstream.balancer, f"{response.status}, {outcome}"
        if outcome is OutcomeClass.CALLERS:
            balancer.succeeded(state)
        if outcome is not OutcomeClass.FAILED:
            return None
        retry.exchange.call.sent = True
        if is_clients_fault(response, retry.upload):
            return None
        balancer.failed(state, fault, no_response=False)
        return self._backoff(retry, fault, elsewhere=False) if _is_safe(retry, None) else None

    def _backoff(self, retry: RetryState, fault: str, *, elsewhere: bool) -> float | None:
        """Seconds until the retry; None if there is none. `elsewhere`: only on another target."""
        count, retries, permit = len(retry.tried), retry.policy.retries, retry.permit
        if count >= retries.attempts or not permit.allows_retry:
            return None
        if permit.upstream.hold_offs and self._limits.is_held(retry.exchange):
            return None
        if elsewhere and not permit.upstream.balancer.has_another(retry.tried, retry.balanced_by):
            return None
        limit = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2.0 ** (count - 1))
        backoff = random.random() * limit  # noqa: S311 - spreads retries, protects nothing
        if backoff >= retry.left or not permit.upstream.budget.withdraw(retries.budget):
            return None
        retry.fault = fault
        return backoff

    def _mark(self, retry: RetryState, verdict: str) -> None:
        """Log the attempt for `X-Gateway-Debug`: without the target's address, which stays inside."""
        text = partial(_attempt_verdict, verdict, retry.left, retry.policy.timeout.total)
        retry.exchange.mark(f"attempt {len(retry.tried)}", text, self._timer())


def _attempt_verdict(verdict: str, left: float, total: float) -> str:
    """`left` and `total` are seconds."""
    return verdict if total == inf else f"{verdict} with {left * 1000:.0f} of {total * 1000:.0f} ms left"


def is_clients_fault(response: BackendResponse, upload: Upload | None) -> bool:
    """Whether a failure may be due to a slow client: a target that gave up waiting for the rest of the body."""
    return upload is not None and response.is_early and upload.waited > SLOW_CLIENT_SECONDS


def _has_key(request: Request) -> bool:
    return first(request.headers, IDEMPOTENCY_KEY) is not None


def _is_safe(retry: RetryState, error: CallFailed | None) -> bool:
    """Whether the request may be sent again after this error, or after a response (None).

    Any may where nothing of it arrived. A write with a key is otherwise retried only after a lost connection: a slow
    or failing service may still be doing it.
    """
    request, upload = retry.exchange.request, retry.upload
    if error is not None and error.unsent and (upload is None or upload.untouched or upload.replayable):
        return True
    if upload is not None and not upload.replayable:
        return False
    return retry.exchange.is_repeatable or (isinstance(error, BadGateway) and _has_key(request))
