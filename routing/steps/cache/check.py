"""Which form of step 5 the requests to a route take."""

from collections.abc import Awaitable
from functools import partial
from typing import Final

from resilience.cache.policy import CachePolicy
from routing.exchange import Exchange
from routing.http import Response
from routing.router.policy import RoutePolicy
from routing.steps.cache.bypass import query_detail, reads
from routing.steps.cache.content import ContentLookup
from routing.steps.cache.lookup import CacheLookup
from routing.steps.compiled import Step

_WITH_CONTENT: Final = "POST"


class CacheCheck:
    """Step 5, compiled: a route whose keys have no content does not look for any."""

    def __init__(self, lookup: CacheLookup) -> None:
        self._lookup = lookup
        self._content_lookup = ContentLookup(lookup)

    def step(self, policy: RoutePolicy, method: str) -> Step:
        if policy.cache is None:
            return self._lookup.bypass_off
        if not reads(policy, method):
            return self._lookup.bypass_method
        has_content = method == _WITH_CONTENT or policy.cache.key.body is not None
        look_up = self._content_lookup.look_up if has_content else self._lookup.look_up
        return partial(self._look_up_unless, policy.cache, look_up) if policy.cache.bypass_query else look_up

    def _look_up_unless(
        self, policy: CachePolicy, look_up: Step, exchange: Exchange
    ) -> Response | Awaitable[Response | None] | None:
        """Look a response up, unless the request's query bypasses the cache. Raises what these raise."""
        detail = query_detail(exchange.request.query, policy)
        if detail:
            self._lookup.bypass(exchange, detail)
            return None
        return look_up(exchange)
