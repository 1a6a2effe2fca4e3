"""One call, made again while that is harmless, affordable and in time: on another target where there is one."""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final, Protocol

from routing.backend.client import Answer, Backend, Call
from routing.balancing.driver import Balancer, Targets, Tell
from routing.balancing.rules import Standing
from routing.errors import BadGateway, UpstreamTimeout
from routing.events import Happened, Kind
from routing.exchange import Exchange
from routing.http import IDEMPOTENT, Request, first
from routing.retrybudget import RetryBudget
from routing.upload import Upload

FAILURES: Final = frozenset({500, 502, 503, 504})
"""Answers that count against a circuit (contract section 6), and against a target."""
ELSEWHERE: Final = frozenset({502, 503, 504})
"""Answers that another target may not give; a 500 is more likely the request's own."""
PAUSE_SECONDS: Final = 0.05
PAUSE_MOST_SECONDS: Final = 1.0
"""A repeat waits up to the one at random, the next twice as long, up to the other: many must not come together."""
KEY: Final = b"idempotency-key"
TIMEOUT: Final = b"x-gateway-timeout-ms"
"""How many milliseconds the gateway will still wait: relative, since clocks differ."""


class Permission(Protocol):
    """The circuit's leave for the call."""

    @property
    def may_repeat(self) -> bool: ...


class Taken:
    """The target that answered, until the answer's body is over."""

    __slots__ = ("_balancer", "_standing")

    def __init__(self, balancer: Balancer, standing: Standing) -> None:
        self._balancer = balancer
        self._standing = standing

    def left(self, *, broken_off: bool = False) -> None:
        self._balancer.left(self._standing)
        if broken_off:
            self._balancer.failed(self._standing, "its answer broke off", cut=True)


class _Effort:
    """One request's attempts so far. `until` is the one deadline of them all, in the event loop's time."""

    __slots__ = ("balancer", "call", "clock", "exchange", "policy", "tried", "until", "upload")

    def __init__(
        self, exchange: Exchange, balancer: Balancer, call: Call, upload: Upload | None, clock: Callable[[], float]
    ) -> None:
        self.exchange = exchange
        self.balancer = balancer
        self.call = call
        self.upload = upload
        self.policy = exchange.routed.policy
        self.clock = clock
        self.until = self.clock() + self.policy.timeout.total
        self.tried: list[Standing] = []

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.until - self.clock()

    def prepare(self) -> None:
        """The body from its beginning, and the time that is left."""
        left = self.left if self.tried else self.policy.timeout.total
        self.call.headers[-1] = (TIMEOUT, b"%d" % max(1, left * 1000))
        if self.upload is not None:
            self.call.body = self.upload.pieces()


class Attempts:
    """Calls to every service's targets. Budgets are per service and worker."""

    def __init__(
        self, backend: Backend, targets: Targets, tell: Tell, timer: Callable[[], float] = time.perf_counter
    ) -> None:
        self._backend = backend
        self._targets = targets
        self._tell = tell
        self._timer = timer
        self._clock: Callable[[], float] | None = None  # the event loop's, which is one for all calls
        self._budgets: defaultdict[str, RetryBudget] = defaultdict(RetryBudget)

    async def send(
        self, exchange: Exchange, leave: Permission, call: Call, upload: Upload | None
    ) -> tuple[Answer, Taken]:
        """The last attempt's answer. Raises BadGateway, UpstreamTimeout, or what the client's body raises."""
        service = exchange.routed.service
        if self._clock is None:
            self._clock = asyncio.get_running_loop().time
        effort = _Effort(exchange, self._targets.of(service), call, upload, self._clock)
        self._budgets[service.name].earn(effort.policy.retries.budget)
        while True:
            try:
                answer, taken = await self._attempt(effort)
            except (BadGateway, UpstreamTimeout) as error:
                pause = self._pause(effort, leave, error.code, elsewhere=isinstance(error, UpstreamTimeout))
                if pause is None:
                    raise
            else:
                pause = None
                if answer.status in ELSEWHERE:
                    pause = self._pause(effort, leave, str(answer.status), elsewhere=True)
                if pause is None:
                    return answer, taken
                taken.left()
                await answer.aclose()
            await asyncio.sleep(pause)

    async def _attempt(self, effort: _Effort) -> tuple[Answer, Taken]:
        balancer, exchange = effort.balancer, effort.exchange
        caller = exchange.caller
        standing = balancer.take(effort.tried, caller.id if caller else exchange.request.client)
        exchange.target = standing.target
        effort.prepare()
        effort.tried.append(standing)
        try:
            answer = await self._backend.send(standing.target, effort.call, effort.policy.timeout, effort.until)
        except BaseException as error:
            balancer.left(standing)
            if isinstance(error, BadGateway | UpstreamTimeout):
                balancer.failed(standing, error.code, cut=True)
                self._mark(effort, error.code)
            raise
        if answer.status in FAILURES:
            balancer.failed(standing, str(answer.status), cut=False)
        else:
            balancer.succeeded(standing)
        if exchange.steps is not None:
            self._mark(effort, str(answer.status))
        return answer, Taken(balancer, standing)

    def _pause(self, effort: _Effort, leave: Permission, fault: str, *, elsewhere: bool) -> float | None:
        """Seconds until the call is made again, or None when it is not. `elsewhere`: only on another target."""
        count, retries = len(effort.tried), effort.policy.retries
        if count >= retries.attempts or not _harmless(effort, fault) or not leave.may_repeat:
            return None
        if elsewhere and not effort.balancer.has_another(effort.tried):
            return None
        pause = random.random() * min(PAUSE_MOST_SECONDS, PAUSE_SECONDS * 2.0 ** (count - 1))  # noqa: S311 - spread
        if pause >= effort.left or not self._budgets[effort.exchange.service].spend(retries.budget):
            return None
        effort.exchange.retries += 1
        url = effort.tried[-1].target.url
        self._tell(Happened(kind=Kind.RETRIED, service=effort.exchange.service, target=url, detail=fault))
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
