"""One call, made again while that is harmless, affordable and in time: on another target where there is one."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Final

from routing.backend.client import Backend, BackendResponse, Call
from routing.balancing.balancer import EventSink
from routing.balancing.rules import TargetState
from routing.errors import BadGateway, UpstreamTimeout
from routing.exchange import Exchange
from routing.http import IDEMPOTENT, Request, first
from routing.messages.request_body import Upload
from routing.observability.events import BackendEvent, BackendEventKind
from routing.upstream.permit import CallPermit

FAILURES: Final = frozenset({500, 502, 503, 504})
"""Answers that count against a circuit (contract section 6), and against a target."""
ELSEWHERE: Final = frozenset({502, 503, 504})
"""Answers that another target may not give; a 500 is more likely the request's own."""
PAUSE_SECONDS: Final = 0.05
PAUSE_MOST_SECONDS: Final = 1.0
"""A repeat waits up to the one at random, the next twice as long, up to the other: many must not come together."""
KEY: Final = b"idempotency-key"


class _Effort:
    """One request's attempts so far. `until` is the one deadline of them all, in the event loop's time."""

    __slots__ = ("call", "clock", "exchange", "leave", "policy", "tried", "until", "upload")

    def __init__(
        self, exchange: Exchange, leave: CallPermit, call: Call, upload: Upload | None, clock: Callable[[], float]
    ) -> None:
        self.exchange = exchange
        self.leave = leave
        self.call = call
        self.upload = upload
        self.policy = exchange.match.policy
        self.clock = clock
        self.until = clock() + self.policy.timeout.total
        self.tried: list[TargetState] = []

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.until - self.clock()

    def begin(self) -> TargetState:
        """The target of the next attempt. The body is sent from its beginning, and the time told that is left."""
        exchange, caller = self.exchange, self.exchange.caller
        left = self.left if self.tried else self.policy.timeout.total
        self.call.patience = max(1, int(left * 1000))
        if self.upload is not None:
            self.call.body = self.upload.pieces()
        standing = self.leave.upstream.balancer.pick(self.tried, caller.id if caller else exchange.request.client)
        exchange.target = standing.target
        self.tried.append(standing)
        return standing


class Attempts:
    """Calls to every service's targets."""

    def __init__(self, backend: Backend, tell: EventSink, timer: Callable[[], float] = time.perf_counter) -> None:
        self._backend = backend
        self._tell = tell
        self._timer = timer
        self._clock: Callable[[], float] | None = None  # the event loop's, which is one for all calls

    async def send(
        self, exchange: Exchange, leave: CallPermit, call: Call, upload: Upload | None
    ) -> tuple[BackendResponse, TargetState]:
        """The last attempt's answer, and the target that gave it, which is to be left when the answer's body is over.

        Raises BadGateway, UpstreamTimeout, or what the client's body raises.
        """
        if self._clock is None:
            self._clock = asyncio.get_running_loop().time
        effort = _Effort(exchange, leave, call, upload, self._clock)
        policy = effort.policy
        leave.upstream.budget.earn(policy.retries.budget)
        while True:
            standing = effort.begin()
            try:
                answer = await self._backend.send(standing.target, call, policy.timeout, effort.until)
            except BaseException as error:
                pause = self._failed(effort, standing, error)
                if pause is None:
                    raise
            else:
                pause = self._judged(effort, standing, answer)
                if pause is None:
                    return answer, standing
                leave.upstream.balancer.release(standing)
                await answer.aclose()
            await asyncio.sleep(pause)

    def _failed(self, effort: _Effort, standing: TargetState, error: BaseException) -> float | None:
        """Seconds until the next attempt, after one without an answer, or None when there is none."""
        balancer = effort.leave.upstream.balancer
        balancer.release(standing)
        if not isinstance(error, BadGateway | UpstreamTimeout):
            return None
        balancer.failed(standing, error.code, cut=True)
        self._mark(effort, error.code)
        return self._pause(effort, error.code, elsewhere=isinstance(error, UpstreamTimeout))

    def _judged(self, effort: _Effort, standing: TargetState, answer: BackendResponse) -> float | None:
        """The same, after one with an answer."""
        balancer, status = effort.leave.upstream.balancer, answer.status
        if effort.exchange.step_log is not None:
            self._mark(effort, str(status))
        if status not in FAILURES:
            balancer.succeeded(standing)
            return None
        balancer.failed(standing, str(status), cut=False)
        return self._pause(effort, str(status), elsewhere=True) if status in ELSEWHERE else None

    def _pause(self, effort: _Effort, fault: str, *, elsewhere: bool) -> float | None:
        """Seconds until the call is made again, or None when it is not. `elsewhere`: only on another target."""
        count, retries, leave = len(effort.tried), effort.policy.retries, effort.leave
        if count >= retries.attempts or not _harmless(effort, fault) or not leave.allows_retry:
            return None
        if elsewhere and not leave.upstream.balancer.has_another(effort.tried):
            return None
        pause = random.random() * min(PAUSE_MOST_SECONDS, PAUSE_SECONDS * 2.0 ** (count - 1))  # noqa: S311 - spread
        if pause >= effort.left or not leave.upstream.budget.spend(retries.budget):
            return None
        effort.exchange.retries += 1
        url = effort.tried[-1].target.url
        self._tell(
            BackendEvent(kind=BackendEventKind.RETRIED, service=effort.exchange.service, target=url, detail=fault)
        )
        return pause

    def _mark(self, effort: _Effort, verdict: str) -> None:
        """For a caller who debugs, who learns how many attempts there were and none of their addresses."""
        said = f"{verdict} with {effort.left * 1000:.0f} of {effort.policy.timeout.total * 1000:.0f} ms left"
        effort.exchange.mark(f"attempt {len(effort.tried)}", said, self._timer())


def repeatable(request: Request) -> bool:
    """Whether the method, or the client with a key, says that the request may be sent twice."""
    return request.method in IDEMPOTENT or first(request.headers, KEY) is not None


def _harmless(effort: _Effort, fault: str) -> bool:
    """A write with a key is repeated only after a lost connection: a slow or failing service may be doing it yet."""
    request = effort.exchange.request
    if effort.upload is not None and not effort.upload.repeatable:
        return False
    return request.method in IDEMPOTENT or (fault == BadGateway.code and first(request.headers, KEY) is not None)
