"""A step between 7 and 8: a response may show that what its caller has cached of a resource is out of date."""

import time
from collections.abc import Awaitable, Callable
from typing import Final

from resilience.cache.policy import OwnInvalidation, Scope
from routing.exchange import Exchange
from routing.messages.outcome import OutcomeClass
from routing.router.tags import filled, own_tags
from routing.steps.cache.only_if import judged_body
from routing.steps.cache.revalidation import Revalidation
from routing.upstream.call import BackendCall

STEP: Final = "own invalidation"
_ANSWERS: Final = (None, OutcomeClass.CALLERS)
"""Classes of responses that say something about the resource."""


class OwnInvalidations:
    """`timer` is monotonic seconds."""

    def __init__(self, revalidation: Revalidation, *, timer: Callable[[], float] = time.perf_counter) -> None:
        self._revalidation = revalidation
        self._timer = timer

    def apply(self, exchange: Exchange) -> Awaitable[None] | None:
        """Invalidate the caller's own entries that the route's `invalidate_own` names, before the response is sent: the
        caller's next request does not find them. Entries that are shared, or were stored by anonymous requests, stay:
        no caller may invalidate what others use.
        """
        policy, call = exchange.match.policy.cache, exchange.call.call
        rule = policy.invalidate_own if policy is not None and policy.scope is Scope.USER else None
        if rule is None or call is None or exchange.caller is None or exchange.call.outcome not in _ANSWERS:
            return None
        status, headers = call.response.status, call.response.headers
        if rule.when.matches(status, headers, None):
            return self._invalidate(exchange, rule)
        return self._judge(exchange, call, rule) if rule.when.needs_body_of(status, headers) else None

    async def _judge(self, exchange: Exchange, call: BackendCall, rule: OwnInvalidation) -> None:
        body = await judged_body(rule.when, exchange, call)
        if body is not None and rule.when.matches(call.response.status, call.response.headers, body):
            await self._invalidate(exchange, rule)

    async def _invalidate(self, exchange: Exchange, rule: OwnInvalidation) -> None:
        assert exchange.caller is not None  # noqa: S101 - `apply` has looked
        tags = own_tags(filled(rule.tags, exchange.match, exchange.caller), exchange.caller)
        if exchange.step_log is not None:
            exchange.mark(STEP, ", ".join(tags), self._timer())
        await self._revalidation.invalidate(exchange.service, tags)
