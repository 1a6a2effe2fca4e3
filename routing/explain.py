"""What would become of a request, and why: the rules of the request's way, asked without sending anything."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from resilience.breaker import machine
from resilience.breaker.machine import Refusal, Snapshot
from resilience.cache.key import scope_id
from resilience.cache.messages import CacheRequest, Forward
from resilience.cache.policy import CachePolicy
from resilience.cache.serving import refuses
from resilience.ratelimit.policy import RatePolicy
from routing.caller import Caller
from routing.errors import (
    CircuitOpen,
    Forbidden,
    GatewayError,
    MethodNotAllowed,
    Unauthenticated,
    UnknownService,
)
from routing.http import Request
from routing.messages import validation
from routing.router import paths
from routing.router.policy import Auth, RoutePolicy
from routing.router.resolution import authorize, host
from routing.router.table import REST, Match, Route, RouteTable, Service, segments_of
from routing.router.tags import ANONYMOUS, filled

Circuits = Callable[[str], Snapshot]

REACHED: Final = "the backend is called"
ROOT: Final = "<the service itself>"


class Verdict(msgspec.Struct, frozen=True):
    """How it ends. `status` and `code` are those of the gateway's own refusal; None when the backend has its say."""

    outcome: str
    status: int | None = None
    code: str | None = None
    detail: str = ""


class RouteVerdict(msgspec.Struct, frozen=True):
    """One of the service's routes, and why it is or is not this request's."""

    path: str
    methods: tuple[str, ...]
    matches: bool
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Each step's verdict, in the request's order. What was not reached is None."""

    request: dict[str, Any]
    verdict: Verdict
    service: dict[str, Any] | None = None
    nearly: tuple[str, ...] = ()
    routes: tuple[RouteVerdict, ...] = ()
    access: dict[str, Any] | None = None
    rate_limit: dict[str, Any] | None = None
    cache: dict[str, Any] | None = None
    circuit: dict[str, Any] | None = None
    call: dict[str, Any] | None = None


class Explainer:
    """Everything an explanation goes by: one table, the gateway's own limit, the circuits as they are now."""

    def __init__(self, table: RouteTable, *, rate: RatePolicy, circuits: Circuits, now: float) -> None:
        self._table = table
        self._rate = rate
        self._circuits = circuits
        self._now = now

    def explain(self, request: Request, caller: Caller | None) -> Explanation:
        """Which way `request` would take, sent by `caller` (None: without a credential)."""
        service, path, unfound = self._service(request)
        match, unrouted = self._match(service, request.method, path) if service else (None, unfound)
        policy = match.policy if match else None
        refusal = _unacceptable(request) or _refusal(caller, service, policy, unrouted)
        said = _request_said(request, caller)
        if service is None:
            return Explanation(
                request=said,
                verdict=_refused(refusal),
                nearly=tuple(self._nearly(request)),
                rate_limit=self._limit(None, None, caller, request),
            )
        by_host = paths.split(request.path) is None or self._by_host(request) is not None
        matched = match.pattern if match else None
        return Explanation(
            request=said,
            verdict=self._verdict(refusal, match),
            service={
                "name": service.name,
                "found_by": "host" if by_host else "path",
                "enabled": service.policy.enabled,
                "path": path.decode("latin-1"),
                "route": matched or (ROOT if match else None),
                "params": dict(match.params) if match else {},
            },
            routes=tuple(route_verdicts(service, request.method, path, matched)),
            access=_access(caller, policy, refusal),
            rate_limit=self._limit(service, policy, caller, request),
            cache=_cache_said(request, policy, match, caller),
            circuit=self._circuit(service),
            call=_call_said(match) if match else None,
        )

    def _by_host(self, request: Request) -> Service | None:
        return self._table.by_host(host(request))

    def _service(self, request: Request) -> tuple[Service | None, bytes, GatewayError | None]:
        """The service, the path that is its own, and why there is none."""
        service = self._by_host(request)
        if service is not None:
            return service, request.path, None
        path = paths.split(request.path)
        if path is None:
            return None, request.path, UnknownService("there is nothing at this path")
        found = self._table.services.get(path.service)
        missing = None if found else UnknownService(f"there is no service {path.service!r}")
        return found, path.rest, missing

    def _match(self, service: Service, method: str, path: bytes) -> tuple[Match | None, GatewayError | None]:
        try:
            return self._table.within(service, method, path), None
        except MethodNotAllowed as error:
            return None, error

    def _nearly(self, request: Request) -> Iterator[str]:
        """The services somebody may have meant, each with what to write instead."""
        path = paths.split(request.path)
        if path is None:
            yield f"services are reached under {paths.PREFIX.decode()}<service>/ or by a host name of their own"
            return
        asked = path.service
        lowered = {name.lower(): name for name in self._table.services}
        for close in get_close_matches(asked.lower(), lowered, n=3, cutoff=0.6):
            name = lowered[close]
            yield f"{name}: names are case-sensitive" if close == asked.lower() else f"{name}: did you mean this?"

    def _verdict(self, refusal: GatewayError | None, match: Match | None) -> Verdict:
        if refusal is not None or match is None:
            return _refused(refusal)
        snapshot = self._circuits(match.service.name)
        _, leave = machine.admit(snapshot, match.service.policy.breaker, self._now, "explain")
        if not isinstance(leave, Refusal):
            return Verdict(REACHED, detail="unless the cache has a fresh answer" if match.policy.cache else "")
        if match.policy.fallback is not None:
            return Verdict("the fallback is answered", match.policy.fallback.status, CircuitOpen.code)
        return Verdict(
            "refused, unless the cache has an answer", int(CircuitOpen.status), CircuitOpen.code, snapshot.reason
        )

    def _limit(
        self, service: Service | None, policy: RoutePolicy | None, caller: Caller | None, request: Request
    ) -> dict[str, Any]:
        own = policy.rate_limit if policy else None
        rate = own or self._rate
        whose = "the gateway's"
        if service is not None and own is not None:
            whose = "the service's" if own == service.policy.rate_limit else "the route's"
        counted = caller.id if caller else validation.limited_address(request.client) or "the client's address"
        return {"limit": rate.limit, "window": rate.window, "whose": whose, "counted_by": counted}

    def _circuit(self, service: Service) -> dict[str, Any]:
        policy = service.policy.breaker
        snapshot = machine.settle(self._circuits(service.name), self._now)
        _, leave = machine.admit(snapshot, policy, self._now, "explain")
        refused = isinstance(leave, Refusal)
        return {
            "state": snapshot.state.value,
            "passes": not refused,
            "retry_after": round(leave.retry_after, 1) if isinstance(leave, Refusal) else None,
            "reason": snapshot.reason,
            "failures": sum(at > self._now - policy.window for at in snapshot.failures),
            "opens_at": f"{policy.failure_threshold} failures within {policy.window:g} s",
        }


def route_verdicts(service: Service, method: str, path: bytes, matched: str | None) -> Iterator[RouteVerdict]:
    """Every route of the service in the order they are tried, and what was wrong with each that did not match."""
    segments, found = segments_of(path), False
    for route in service.routes:
        why = mismatch(route, segments) or _wrong_method(route, method)
        if why is None and not found and route.path == matched:
            found = True
            yield RouteVerdict(route.path, route.methods, True, "the first that fits")
        else:
            yield RouteVerdict(
                route.path, route.methods, False, why or "fits too, but comes after the one that matched"
            )


def mismatch(route: Route, segments: list[str]) -> str | None:
    """Why a route's pattern does not fit the path; None when it does."""
    wanted = route.path.strip("/").split("/") if route.path != "/" else []
    for index, pattern in enumerate(wanted):
        if pattern == REST:
            return None
        if index >= len(segments):
            return f"the path ends before {pattern!r}"
        said = segments[index]
        if pattern.startswith("{"):
            if not said:
                return f"{pattern} would be empty"
        elif pattern != said:
            return f"it wants {pattern!r} where the path has {said!r}"
    if len(segments) > len(wanted):
        rest = "/".join(segments[len(wanted) :])
        return f"the path goes on with {rest!r}" if rest else "the path ends with a slash"
    return None


def _wrong_method(route: Route, method: str) -> str | None:
    return None if route.allows(method) else f"fits the path, but is for {', '.join(route.methods)}"


def _unacceptable(request: Request) -> GatewayError | None:
    try:
        validation.check(request)
    except GatewayError as error:
        return error
    return None


def _refusal(
    caller: Caller | None, service: Service | None, policy: RoutePolicy | None, unrouted: GatewayError | None
) -> GatewayError | None:
    """The gateway's own no of steps 3 and 4, in the order it is said; None when there is none."""
    auth = policy.auth if policy else Auth.REQUIRED
    caller = None if auth is Auth.NONE else caller
    if caller is None and auth is Auth.REQUIRED:
        return Unauthenticated("send an API key or a Firebase ID token")
    if unrouted or service is None or policy is None:
        return unrouted
    return authorize(service.name, policy, caller)


def _refused(error: GatewayError | None) -> Verdict:
    error = error or UnknownService("there is nothing at this path")
    return Verdict("refused by the gateway", int(error.status), error.code, error.detail)


def _request_said(request: Request, caller: Caller | None) -> dict[str, Any]:
    return {
        "method": request.method,
        "path": request.path.decode("latin-1"),
        "query": request.query.decode("latin-1"),
        "caller": caller.id if caller else None,
    }


def _access(caller: Caller | None, policy: RoutePolicy | None, refusal: GatewayError | None) -> dict[str, Any] | None:
    if policy is None:
        return None
    has = None if caller is None or caller.scopes is None else sorted(caller.scopes)
    denied = isinstance(refusal, Unauthenticated | Forbidden)
    why = refusal.detail if refusal and denied else "no credential is asked for" if policy.auth is Auth.NONE else ""
    return {"auth": policy.auth.value, "needs": list(policy.scopes), "has": has, "allowed": not denied, "why": why}


def _cache_said(
    request: Request, policy: RoutePolicy | None, match: Match | None, caller: Caller | None
) -> dict[str, Any] | None:
    """What the cache does with the request, and by which rule."""
    if policy is None or match is None:
        return None
    wrote = list(filled(policy.invalidates, match, caller))
    if policy.cache is None:
        return {"consulted": False, "rule": "the configuration says cache: off", "invalidates": wrote}
    refusal = refuses(CacheRequest(request.method, request.headers, caller is not None))
    if refusal is not None:
        rule = f"{request.method} is not answered from a cache" if refusal is Forward.METHOD else "it says no-store"
        return {"consulted": False, "rule": rule, "invalidates": wrote}
    return {"consulted": True, **_consulted(policy.cache, match, caller), "invalidates": wrote}


def _consulted(cache: CachePolicy, match: Match, caller: Caller | None) -> dict[str, Any]:
    ttl = f"for {cache.ttl:g} s" if cache.ttl else "only as long as the answer itself says"
    rule = f"an answer that says nothing of itself is kept {ttl}"
    if cache.override and cache.ttl:
        rule = f"every answer that may be kept is kept {ttl}"
    whose = scope_id(cache.scope, caller.id if caller else ANONYMOUS, caller.tenant if caller else None)
    return {
        "rule": rule,
        "scope": cache.scope.value,
        "shared_with": whose,
        "ttl": cache.ttl,
        "stale_while_revalidate": cache.stale_while_revalidate,
        "stale_if_error": cache.stale_if_error,
        "tags": [match.service.name, *filled(cache.tags, match, caller)],
        "vary": list(cache.vary),
    }


def _call_said(match: Match) -> dict[str, Any]:
    """Where the call would go. Of the configured headers the names alone: their values may be secrets."""
    policy = match.policy
    total = sum(target.weight for target in match.service.targets)
    return {
        "targets": [
            {"url": target.url, "share": round(target.weight / total, 4) if total else 0.0}
            for target in match.service.targets
        ],
        "path": match.path.decode("latin-1"),
        "timeout": msgspec.structs.asdict(policy.timeout),
        "retries": msgspec.structs.asdict(policy.retries),
        "max_concurrency": policy.max_concurrency,
        "headers": [name.decode("latin-1") for name, _ in policy.headers],
        "forward_authorization": policy.forward_authorization,
    }
