"""After step 4, for callers whose consumer, key, team or plan has limits: what they may call, and how often."""

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.window import Decision
from resilience.usage.driver import Quotas
from resilience.usage.meter import QuotaVerdict
from resilience.usage.periods import period_at
from resilience.usage.slots import Slots
from routing.consumers.limit_state import LimitState
from routing.consumers.subscription import ConcurrencyLimit, QuotaLimit, RateLimit, Subscription
from routing.errors import Forbidden, QuotaExceeded, RateLimited
from routing.exchange import Exchange
from routing.steps.network import check_plan_address

PlanLimit = RateLimit | QuotaLimit
Counted = list[tuple[PlanLimit, Decision | QuotaVerdict]]
RETRY_SECONDS: Final = 1.0
"""When a caller whose requests in flight are too many may try again."""


class PlanLimits:
    """Every limit holds: a request is counted by all, or refused by one and uncounted by those before it."""

    def __init__(
        self, limiter: Limiter, quotas: Quotas, slots: Slots, *, clock: Callable[[], float], timer: Callable[[], float]
    ) -> None:
        self._limiter, self._quotas, self._slots = limiter, quotas, slots
        self._clock, self._timer = clock, timer

    def admit(self, exchange: Exchange) -> Awaitable[None] | None:
        """Raises Forbidden, RateLimited or QuotaExceeded."""
        subscription = None if exchange.caller is None else exchange.caller.subscription
        if subscription is None:
            return None
        if not subscription.allows(exchange.service, exchange.request.method):
            raise Forbidden("the plan does not include this method of the service", service=exchange.service)
        check_plan_address(exchange, self._timer)
        counted: Counted = []
        limits = self._remaining(exchange, subscription)
        for index, limit in enumerate(limits):
            verdict = self._try(limit)
            if verdict is None:
                return self._wait(exchange, subscription, counted, limits[index:])
            self._add(exchange, counted, limit, verdict)
        if subscription.concurrent:
            return self._wait(exchange, subscription, counted, ())
        self._done(exchange, counted)
        return None

    def not_asked(self, exchange: Exchange) -> list[LimitState]:
        """The caller's limits that were not asked about a refused request, since another one refused it.

        What remains of them is what this worker knows: refusals make no calls to the store.
        """
        subscription = None if exchange.caller is None else exchange.caller.subscription
        if subscription is None:
            return []
        asked = {exchange.quota.name, *(state.name for state in exchange.plan_limits)}
        return [self._state(limit, self._peek(limit)) for limit in subscription.counted if limit.name not in asked]

    def _peek(self, limit: PlanLimit) -> Decision | QuotaVerdict | None:
        if isinstance(limit, RateLimit):
            return self._limiter.peek(limit.key, limit.policy)
        return self._quotas.peek(limit.meter)

    def _remaining(self, exchange: Exchange, subscription: Subscription) -> Sequence[PlanLimit]:
        """The limits without the rate, which step 2 has counted."""
        if exchange.quota.name == "default":
            return subscription.counted
        return [limit for limit in subscription.counted if limit.name != exchange.quota.name]

    def _try(self, limit: PlanLimit) -> Decision | QuotaVerdict | None:
        if isinstance(limit, RateLimit):
            return self._limiter.try_take(limit.key, limit.policy)
        return self._quotas.try_take(limit.meter)

    async def _wait(
        self, exchange: Exchange, subscription: Subscription, counted: Counted, limits: Sequence[PlanLimit]
    ) -> None:
        try:
            for limit in limits:
                if isinstance(limit, RateLimit):
                    self._add(exchange, counted, limit, await self._limiter.take(limit.key, limit.policy))
                else:
                    self._add(exchange, counted, limit, await self._quotas.take(limit.meter))
            if subscription.concurrent:
                await self._enter(exchange, subscription.concurrent, counted)
        except BaseException:
            self._give_back(counted)
            raise
        self._done(exchange, counted)

    async def _enter(self, exchange: Exchange, limits: Sequence[ConcurrencyLimit], counted: Counted) -> None:
        held = self._slots.hold()
        exchange.slots = held
        for limit in limits:
            if not await held.enter(limit.key, limit.limit):
                held.release()
                self._done(exchange, counted)
                self._give_back_first(exchange)
                raise RateLimited(
                    f"over {limit.limit} requests at once: the limit of the {limit.owner}", retry_after=RETRY_SECONDS
                )

    def _add(self, exchange: Exchange, counted: Counted, limit: PlanLimit, verdict: Decision | QuotaVerdict) -> None:
        """Note a decision. Raises RateLimited or QuotaExceeded."""
        if verdict.allowed:
            counted.append((limit, verdict))
            return
        self._done(exchange, [*counted, (limit, verdict)])
        self._give_back(counted)
        counted.clear()
        self._give_back_first(exchange)
        if isinstance(limit, RateLimit):
            rate = limit.policy
            raise RateLimited(
                f"over {rate.limit} requests in {rate.window:g} s: the limit of the {limit.owner}",
                retry_after=verdict.reset,
            )
        amount = verdict.limit if isinstance(verdict, QuotaVerdict) else limit.meter.policy.amount
        until = _time(round(self._clock() + verdict.reset))
        raise QuotaExceeded(
            f"the {limit.owner}'s quota of {amount} requests per {limit.meter.policy.per} is used up until {until}",
            retry_after=verdict.reset,
        )

    def _give_back(self, counted: Counted) -> None:
        for limit, verdict in counted:
            if isinstance(limit, QuotaLimit):
                self._quotas.give_back(limit.meter)
            elif isinstance(verdict, Decision):
                self._limiter.give_back(limit.key, verdict)

    def _give_back_first(self, exchange: Exchange) -> None:
        """Uncount the request in the caller's own rate, which step 2 has counted. The gateway's and a service's limits
        count what is refused too.
        """
        decision = exchange.decision
        if exchange.quota.name != "default" and decision is not None and decision.allowed:
            self._limiter.give_back(exchange.quota.key, decision)
            exchange.uncounted(decision)

    def _done(self, exchange: Exchange, counted: Counted) -> None:
        exchange.plan_limits = tuple([self._state(limit, verdict) for limit, verdict in counted])
        if exchange.step_log is not None:
            exchange.mark("plan", " ".join(limit.name for limit, _ in counted), self._timer())

    def _state(self, limit: PlanLimit, verdict: Decision | QuotaVerdict | None) -> LimitState:
        if isinstance(limit, RateLimit):
            amount, window = limit.policy.limit, math.ceil(limit.policy.window)
        else:
            period = period_at(limit.meter.policy, self._clock(), limit.meter.signed_up)
            amount = verdict.limit if isinstance(verdict, QuotaVerdict) else limit.meter.policy.amount
            window = period.ends - period.starts
        if verdict is None:
            return LimitState(limit.name, amount, window, None, 0)
        return LimitState(limit.name, amount, window, verdict.remaining, math.ceil(verdict.reset))


@lru_cache(maxsize=256)
def _time(instant: int) -> str:
    return datetime.fromtimestamp(instant, UTC).isoformat().replace("+00:00", "Z")
