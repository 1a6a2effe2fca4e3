"""The policy of a request that servers may read as one of several routes. Pure functions."""

from collections.abc import Sequence
from typing import Final

import msgspec

from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.signatures.policy import DEFAULT_POLICY, NonceRule, SignaturePolicy
from routing.errors import BadRequest
from routing.messages.cors import CorsPolicy
from routing.router.policy import Auth, RoutePolicy

_AUTH: Final = (Auth.NONE, Auth.OPTIONAL, Auth.REQUIRED, Auth.CERTIFICATE, Auth.SIGNATURE)
_SIGNED: Final = frozenset({Auth.OPTIONAL, Auth.REQUIRED, Auth.SIGNATURE})
"""Requirements that a signature can meet."""
_SCOPES: Final = (Scope.SHARED, Scope.TENANT, Scope.USER)
_USUAL_RATE: Final = RatePolicy()
"""What a policy without a limit of its own is taken to have, for comparison."""


def strictest(policies: Sequence[RoutePolicy]) -> RoutePolicy:
    """The first policy with every restriction of the others.

    Restrictions are who may call, from which pages, how often, over what, and whether a response may be stored and for
    whom. What only says how the backend is called, such as timeouts and header fields, is the first's.

    Raises BadRequest.
    """
    return msgspec.structs.replace(
        policies[0],
        auth=_strictest_auth([policy.auth for policy in policies]),
        scopes=tuple(dict.fromkeys(scope for policy in policies for scope in policy.scopes)),
        ip=tuple(dict.fromkeys(addresses for policy in policies for addresses in policy.ip)),
        enabled=all(policy.enabled for policy in policies),
        rate_limit=min([policy.rate_limit for policy in policies], key=_rate),
        cache=_strictest_cache([policy.cache for policy in policies]),
        websocket=all(policy.websocket for policy in policies),
        invalidates=tuple(dict.fromkeys(tag for policy in policies for tag in policy.invalidates)),
        idempotency=any(policy.idempotency for policy in policies),
        signature=_strictest_signature([policy for policy in policies if policy.auth in _SIGNED]),
        cors=_strictest_cors([policy.cors for policy in policies]),
    )


def _strictest_auth(found: Sequence[Auth]) -> Auth:
    """Raises BadRequest for a certificate and a signature: no caller has both."""
    if {Auth.CERTIFICATE, Auth.SIGNATURE} <= set(found):
        raise BadRequest("the path can be read in several ways, which require different credentials")
    return max(found, key=_AUTH.index)


def _strictest_signature(policies: Sequence[RoutePolicy]) -> SignaturePolicy | None:
    """What a signature must be for all of these. Raises BadRequest if they require different tags: it has one."""
    found = [policy.signature or DEFAULT_POLICY for policy in policies]
    if not found or all(each == found[0] for each in found):
        return policies[0].signature if policies else None
    tags = {each.tag for each in found if each.tag is not None}
    if len(tags) > 1:
        raise BadRequest("the path can be read in several ways, which require different signatures")
    return SignaturePolicy(
        components=tuple(dict.fromkeys(name for each in found for name in each.components)),
        max_age=min(each.max_age for each in found),
        leeway=min(each.leeway for each in found),
        nonce=NonceRule.REQUIRED if any(each.nonce is NonceRule.REQUIRED for each in found) else NonceRule.OPTIONAL,
        tag=next(iter(tags), None),
    )


def _strictest_cors(policies: Sequence[CorsPolicy | None]) -> CorsPolicy | None:
    """No pages of other origins, unless all have the same rules for them."""
    return policies[0] if all(policy == policies[0] for policy in policies) else CorsPolicy(origins=())


def _rate(rate: RatePolicy | None) -> float:
    """Requests per second."""
    rate = rate or _USUAL_RATE
    return rate.limit / rate.window


def _strictest_cache(policies: Sequence[CachePolicy | None]) -> CachePolicy | None:
    """None, no caching, if any says so, or if keys or conditions differ; else the narrowest scope and the shortest
    times, with all tags.
    """
    found = [policy for policy in policies if policy is not None]
    if len(found) < len(policies) or any(_differ(policy, found[0]) for policy in found) or not _methods(found):
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
        ignore=tuple(word for word in found[0].ignore if all(word in policy.ignore for policy in found)),
        ignore_vary=tuple(name for name in found[0].ignore_vary if all(name in policy.ignore_vary for policy in found)),
        share_ignored=all(policy.share_ignored for policy in found),
        methods=_methods(found),
        bypass_query=tuple(dict.fromkeys(name for policy in found for name in policy.bypass_query)),
    )


def _differ(policy: CachePolicy, other: CachePolicy) -> bool:
    return (policy.key, policy.only_if, policy.cookies) != (other.key, other.only_if, other.cookies)


def _methods(found: Sequence[CachePolicy]) -> tuple[str, ...]:
    """Those of all; none if placeholders in tags, or the fields of a key, need one that is not among them."""
    common = tuple(method for method in found[0].methods if all(method in policy.methods for policy in found))
    reads_body = found[0].key.body is not None or any(policy.body_tags for policy in found)
    return () if common == ("HEAD",) or (reads_body and "POST" not in common) else common


def _credentials(named: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The fields that are part of the key for any; other credentials bypass the cache, unless none of them does."""
    union = tuple(dict.fromkeys(name for names in named for name in names or ()))
    return None if not union and None in named else union
