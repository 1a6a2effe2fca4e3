"""The sections of an explanation that describe one step each, as JSON objects."""

from math import inf
from typing import Any

import msgspec

from resilience.breaker import machine
from resilience.breaker.machine import Refusal, Snapshot
from resilience.cache.key import scope_id
from resilience.cache.messages import CacheRequest, Forward
from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.serving import bypass_reason
from resilience.ratelimit.policy import RatePolicy
from routing.caller import Caller
from routing.errors import Forbidden, GatewayError, Unauthenticated
from routing.http import Request
from routing.messages import forwarding
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Match, Service
from routing.router.tags import ANONYMOUS, filled
from routing.steps.cache.bypass import BYPASS_RULES, bypass_detail
from routing.steps.cache.lookup import CACHED_METHODS
from routing.steps.gatekeeper import quota_of


def request_section(request: Request, caller: Caller | None) -> dict[str, Any]:
    return {
        "method": request.method,
        "path": request.path.decode("latin-1"),
        "query": request.query.decode("latin-1"),
        "caller": caller.id if caller else None,
    }


def rate_limit_section(
    match: Match | None, gateway_rate: RatePolicy, caller: Caller | None, request: Request
) -> dict[str, Any]:
    quota = quota_of(match, gateway_rate, caller, request.client)
    whose = "the gateway's"
    if match is not None and match.policy.rate_limit is not None:
        whose = "the service's" if match.policy.rate_limit == match.service.policy.rate_limit else "the route's"
    return {
        "limit": quota.policy.limit,
        "window": quota.policy.window,
        "whose": whose,
        "counted_by": quota.subject or "the client's address",
    }


def access_section(caller: Caller | None, policy: RoutePolicy, error: GatewayError | None) -> dict[str, Any]:
    scopes = None if caller is None or caller.scopes is None else sorted(caller.scopes)
    why = "no credential is required" if policy.auth is Auth.NONE else ""
    denied = isinstance(error, Unauthenticated | Forbidden)
    if error is not None and denied:
        why = error.detail
    return {"auth": policy.auth.value, "needs": list(policy.scopes), "has": scopes, "allowed": not denied, "why": why}


def cache_section(request: Request, match: Match, caller: Caller | None) -> dict[str, Any]:
    """Whether the cache is consulted, and by which rule."""
    policy, invalidates = match.policy, list(filled(match.policy.invalidates, match, caller))
    if policy.cache is None:
        return {"consulted": False, "rule": "caching is off in the configuration", "invalidates": invalidates}
    detail = bypass_detail(request, policy.cache) if request.method in CACHED_METHODS else ""
    if detail:
        return {"consulted": False, "rule": BYPASS_RULES[detail], "invalidates": invalidates}
    reason = bypass_reason(CacheRequest(request.method, request.headers, caller is not None))
    if reason is not None:
        rule = "the request has no-store, If-Match or If-Unmodified-Since"
        if reason is Forward.METHOD:
            rule = f"{request.method} requests are not served from the cache"
        return {"consulted": False, "rule": rule, "invalidates": invalidates}
    return {"consulted": True, **_cache_policy(policy.cache, request, match, caller), "invalidates": invalidates}


def _cache_policy(cache: CachePolicy, request: Request, match: Match, caller: Caller | None) -> dict[str, Any]:
    rule = "a response is fresh only as long as its own header fields say"
    if caller is None and cache.scope is not Scope.SHARED:
        rule += ": the request is anonymous and the scope is not shared"
    elif cache.ttl:
        kind = "every cacheable response" if cache.override else "a response without an explicit lifetime"
        rule = f"{kind} is fresh for {cache.ttl:g} s"
    return {
        "rule": rule,
        "scope": cache.scope.value,
        "shared_with": scope_id(cache.scope, caller.id if caller else ANONYMOUS, caller.tenant if caller else None),
        "ttl": cache.ttl,
        "stale_while_revalidate": cache.stale_while_revalidate,
        "stale_if_error": cache.stale_if_error,
        "tags": [match.service.name, *filled(cache.tags, match, caller)],
        "vary": list(cache.vary),
        "credentials": list(cache.credentials or ()),
        "origin": {name.decode(): value.decode("latin-1") for name, value in forwarding.origin_fields(request)},
    }


def circuit_section(service: Service, snapshot: Snapshot, now: float) -> dict[str, Any]:
    policy = service.policy.breaker
    current = machine.advance(snapshot, now)
    _, permit = machine.admit(current, policy, now, "explain")
    refusal = permit if isinstance(permit, Refusal) else None
    return {
        "state": current.state.value,
        "passes": refusal is None,
        "retry_after": round(refusal.retry_after, 1) if refusal else None,
        "reason": current.reason,
        "failures": sum(at > now - policy.window for at in current.failures),
        "opens_at": f"{policy.failure_threshold} failures within {policy.window:g} s",
    }


def call_section(match: Match) -> dict[str, Any]:
    """Where the call would go. Shows only the names of configured header fields: their values may be secrets."""
    policy = match.policy
    total = sum(target.weight for target in match.service.targets)
    other = policy.fallback and policy.fallback.service
    return {
        "targets": [
            {"url": target.url, "share": round(target.weight / total, 4) if total else 0.0}
            for target in match.service.targets
        ],
        "path": match.path.decode("latin-1"),
        "timeout": {
            name: None if seconds == inf else seconds
            for name, seconds in msgspec.structs.asdict(policy.timeout).items()
        },
        "retries": msgspec.structs.asdict(policy.retries),
        "max_concurrency": policy.max_concurrency,
        "headers": [name.decode("latin-1") for name, _ in policy.headers],
        "forward_authorization": policy.forward_authorization,
        "preserve_host": policy.preserve_host,
        **({"fallback": other} if other else {}),
    }
