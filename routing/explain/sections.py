"""The sections of an explanation that describe one step each, as JSON objects."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import msgspec

from resilience.breaker import machine
from resilience.breaker.machine import Refusal, Snapshot
from resilience.cache.key import scope_id
from resilience.cache.messages import CacheRequest, Forward
from resilience.cache.policy import CachePolicy, KeyPolicy, Scope
from resilience.cache.serving import bypass_reason
from resilience.outbound.policy import OutboundPolicy
from resilience.ratelimit.policy import RatePolicy
from routing.caller import Caller
from routing.countries.lookup import COUNTRIES
from routing.errors import Forbidden, GatewayError, Unauthenticated
from routing.http import Request
from routing.messages import forwarding
from routing.messages.outcome import OutcomePolicy
from routing.networks import country_of
from routing.router.credential_policy import CredentialPolicy
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Match, Service
from routing.router.tags import ANONYMOUS, filled
from routing.steps.cache.bypass import BYPASS_RULES, bypass_detail, content_detail, query_detail, reads
from routing.steps.gatekeeper import quota_of

HeldCalls = Sequence[tuple[str, float]]
"""Descriptions of calls, and Unix times."""


def request_section(request: Request, caller: Caller | None, address: str | None = None) -> dict[str, Any]:
    """With the client's address if the explanation is for one, and its country where there is a database of them."""
    from_address: dict[str, str | None] = {} if address is None else {"ip": address}
    if address is not None and COUNTRIES.is_configured:
        from_address["country"] = country_of(address) or None
    return {
        "method": request.method,
        "path": request.path.decode("latin-1"),
        "query": request.query.decode("latin-1"),
        "caller": caller.id if caller else None,
        **from_address,
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
    access = {"auth": policy.auth.value, "needs": list(policy.scopes), "has": scopes, "allowed": not denied, "why": why}
    return access | ({"signature": msgspec.structs.asdict(policy.signature)} if policy.signature else {})


def cache_section(request: Request, match: Match, caller: Caller | None) -> dict[str, Any]:
    """Whether the cache is consulted, and by which rule."""
    policy, invalidates = match.policy, list(filled(match.policy.invalidates, match, caller))
    if policy.cache is None:
        return {"consulted": False, "rule": "caching is off in the configuration", "invalidates": invalidates}
    if reads(policy, request.method):
        has_key = request.method == "POST" or policy.cache.key.body is not None
        detail = content_detail(request, policy) if has_key else bypass_detail(request, policy.cache)
        detail = detail or query_detail(request.query, policy.cache)
        if detail:
            return {"consulted": False, "rule": BYPASS_RULES[detail], "invalidates": invalidates}
        reason = bypass_reason(CacheRequest("GET", request.headers, caller is not None))
    else:
        reason = Forward.METHOD
    if reason is not None:
        rule = "the request has no-store, If-Match or If-Unmodified-Since"
        if reason is Forward.METHOD:
            rule = f"{request.method} requests are not served from the cache"
        return {"consulted": False, "rule": rule, "invalidates": invalidates}
    return {"consulted": True, **_cache_policy(policy.cache, request, match, caller), "invalidates": invalidates}


def _cache_policy(cache: CachePolicy, request: Request, match: Match, caller: Caller | None) -> dict[str, Any]:
    own, rule = cache.invalidate_own, "a response is fresh only as long as its own header fields say"
    if caller is None and cache.scope is not Scope.SHARED:
        rule += ": the request is anonymous and the scope is not shared"
    elif cache.ttl:
        kind = "every cacheable response" if cache.override else "a response without an explicit lifetime"
        rule = f"{kind} is fresh for {cache.ttl:.15g} s"
    return {
        "rule": rule,
        "scope": cache.scope.value,
        "shared_with": scope_id(cache.scope, caller.id if caller else ANONYMOUS, caller.tenant if caller else None),
        "ttl": cache.ttl,
        "stale_while_revalidate": cache.stale_while_revalidate,
        "stale_if_error": cache.stale_if_error,
        "tags": [match.service.name, *filled(cache.tags, match, caller, request.query)],
        "vary": list(cache.vary),
        "credentials": list(cache.credentials or ()),
        "cookies": None if cache.cookies is None else list(cache.cookies),
        "ignore": list(cache.ignore),
        "ignore_vary": list(cache.ignore_vary),
        "methods": list(cache.methods),
        "key": _key(cache.key),
        "bypass_query": list(cache.bypass_query),
        "only_if": cache.only_if is not None,
        "invalidate_own": list(filled(own.tags, match, caller)) if own is not None and caller is not None else [],
        "origin": {name.decode(): value.decode("latin-1") for name, value in forwarding.origin_fields(request)},
    }


def _key(key: KeyPolicy) -> dict[str, Any]:
    """As in the configuration: fields None for all of the content."""
    return {
        "body": None if key.body is None else list(key.body),
        "query": {"ignore": list(key.query.ignore), "sort": key.query.sort},
        "headers": list(key.headers),
    }


def circuit_section(service: Service, snapshot: Snapshot, held: HeldCalls, now: float) -> dict[str, Any]:
    """`held` are the calls that the backend has limited, and until when."""
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
        "opens_at": f"{policy.failure_threshold} failures within {policy.window:.15g} s",
        **({"held_off": {calls: round(until - now, 1) for calls, until in held}} if held else {}),
    }


def call_section(match: Match, conditions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Where the call would go. Shows only the names of configured header fields: their values may be secrets.

    `conditions` say how each target is, by its address.
    """
    policy = match.policy
    total = sum(target.weight for target in match.service.targets)
    other = policy.fallback and policy.fallback.service
    return {
        "targets": [
            {
                "url": target.url,
                "share": round(target.weight / total, 4) if total else 0.0,
                **conditions.get(target.url, {}),
            }
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
        **({"credential": credential_section(policy.credential)} if policy.credential else {}),
        **limits_section(policy),
    }


def credential_section(policy: CredentialPolicy) -> dict[str, Any]:
    """Whose credential the call would carry, and in which field. Nothing of it is a secret."""
    return {
        "grant": policy.grant.value,
        "per": policy.per.value,
        "token_url": policy.token_url,
        "header": policy.header,
        "scopes": list(policy.scopes),
    }


def limits_section(policy: RoutePolicy) -> dict[str, Any]:
    """How the backend's limits are heeded, and which classes its responses may have."""
    hold_off, outbound, outcome = policy.hold_off, policy.outbound, policy.outcome
    classes = [name for name in OutcomePolicy.__struct_fields__ if outcome and getattr(outcome, name).items]
    return {
        **({"outcome": classes} if classes else {}),
        "hold_off": None if hold_off is None else {"per": [part.value for part in hold_off.per], "max": hold_off.max},
        **({"outbound": _outbound(outbound)} if outbound else {}),
    }


def _outbound(policy: OutboundPolicy) -> dict[str, Any]:
    return {"rate": str(policy.rate), "per": [part.value for part in policy.per], "queue": policy.queue}
