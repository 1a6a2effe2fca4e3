"""The policy of a request that servers may read as one of several routes. Pure functions."""

from collections.abc import Sequence
from typing import Final

import msgspec

from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.router.policy import Auth, RoutePolicy

_AUTH: Final = (Auth.NONE, Auth.OPTIONAL, Auth.REQUIRED)
_SCOPES: Final = (Scope.SHARED, Scope.TENANT, Scope.USER)
_USUAL_RATE: Final = RatePolicy()
"""What a policy without a limit of its own is taken to have, for comparison."""


def strictest(policies: Sequence[RoutePolicy]) -> RoutePolicy:
    """The first policy with every restriction of the others.

    Restrictions are who may call, how often, over what, and whether a response may be stored and for whom. What only
    says how the backend is called, such as timeouts and header fields, is the first's.
    """
    return msgspec.structs.replace(
        policies[0],
        auth=max([policy.auth for policy in policies], key=_AUTH.index),
        scopes=tuple(dict.fromkeys(scope for policy in policies for scope in policy.scopes)),
        enabled=all(policy.enabled for policy in policies),
        rate_limit=min([policy.rate_limit for policy in policies], key=_rate),
        cache=_strictest_cache([policy.cache for policy in policies]),
        websocket=all(policy.websocket for policy in policies),
        invalidates=tuple(dict.fromkeys(tag for policy in policies for tag in policy.invalidates)),
        idempotency=any(policy.idempotency for policy in policies),
    )


def _rate(rate: RatePolicy | None) -> float:
    """Requests per second."""
    rate = rate or _USUAL_RATE
    return rate.limit / rate.window


def _strictest_cache(policies: Sequence[CachePolicy | None]) -> CachePolicy | None:
    """None, no caching, if any says so; else the narrowest scope and the shortest times, with all tags."""
    found = [policy for policy in policies if policy is not None]
    if len(found) < len(policies):
        return None
    return msgspec.structs.replace(
        found[0],
        ttl=min(policy.ttl for policy in found),
        scope=max([policy.scope for policy in found], key=_SCOPES.index),
        stale_while_revalidate=min(policy.stale_while_revalidate for policy in found),
        stale_if_error=min(policy.stale_if_error for policy in found),
        tags=tuple(dict.fromkeys(tag for policy in found for tag in policy.tags)),
        vary=tuple(dict.fromkeys(name for policy in found for name in policy.vary)),
        override=all(policy.override for policy in found),
        credentials=_credentials([policy.credentials for policy in found]),
    )


def _credentials(named: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The fields that are part of the key for any; other credentials bypass the cache, unless none of them does."""
    union = tuple(dict.fromkeys(name for names in named for name in names or ()))
    return None if not union and None in named else union
