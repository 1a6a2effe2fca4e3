"""Which form of step 5 the requests to a route take."""

from typing import Final

from routing.router.policy import RoutePolicy
from routing.steps.cache.bypass import reads
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
        return self._content_lookup.look_up if has_content else self._lookup.look_up
