"""Explain what the gateway would do with a request, step by step, without calling a backend."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from resilience.breaker import machine
from resilience.breaker.machine import Refusal, Snapshot
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.authenticator import missing_credential
from routing.caller import Caller
from routing.errors import (
    AddressNotAllowed,
    BackendLimited,
    BadRequest,
    CircuitOpen,
    Forbidden,
    GatewayError,
    MethodNotAllowed,
    Unauthenticated,
    UnknownService,
)
from routing.explain.explanation import ExplainedOutcome, Explanation
from routing.explain.routes import check_routes
from routing.explain.sections import (
    HeldCalls,
    access_section,
    cache_section,
    call_section,
    circuit_section,
    rate_limit_section,
    request_section,
)
from routing.http import Request
from routing.messages import validation
from routing.networks import Addresses, described_country, name_countries, permits
from routing.router import paths
from routing.router.access import authorize
from routing.router.fallback import fallback_match
from routing.router.policy import Auth
from routing.router.resolution import host
from routing.router.table import Match, RouteTable, Service

Wait = Callable[[Request, Match, Caller | None], float | None]
"""Seconds until a backend that has limited such calls accepts them again; None if it does."""
Circuits = Callable[[str], Snapshot]
"""A service's circuit, by the service's name."""
ReadConditions = Callable[[Service], Mapping[str, Mapping[str, Any]]]
"""How each target of a service is, by its address."""

STAFF: Final = "staff"
"""The kind of callers that a session identifies, whatever a route requires."""
CALLED: Final = "the backend is called"
NO_ROUTE: Final = "<no route: the service's settings apply>"


class Explainer:
    """`rate` is the gateway's own limit, `held` a service's calls that its backend has limited, and `wait` how
    long that lasts for this request; `conditions` say how a service's targets are, by address; `now` is Unix time.
    """

    def __init__(
        self,
        table: RouteTable,
        *,
        rate: RatePolicy,
        circuits: Circuits,
        now: float,
        held: Callable[[str], HeldCalls] = lambda _service: (),
        wait: Wait = lambda _request, _match, _caller: None,
        conditions: ReadConditions = lambda _service: {},
    ) -> None:
        self._conditions = conditions
        self._held = held
        self._wait = wait
        self._table = table
        self._rate = rate
        self._circuits = circuits
        self._now = now

    def explain(
        self,
        request: Request,
        caller: Caller | None,
        *,
        has_address: bool = False,
        refusal: GatewayError | None = None,
    ) -> Explanation:
        """What would happen to `request` from `caller` (None: without a credential).

        Lists of addresses are heeded if `has_address`: the request's client is the one that is meant. `refusal` is the
        error of the credential itself, if any.
        """
        service, path, missing = self._find_service(request)
        match, unmatched = self._match(service, request.method, path) if service else (None, missing)
        # Step 3 reads no credential on such a route.
        identified = None if match and match.policy.auth is Auth.NONE else caller
        address = request.client if has_address else None
        error = _malformed(request) or (refusal if identified is not None else None)
        error = error or _denial(identified, match, unmatched) or _later_denial(identified, match, request, address)
        rate_limit = rate_limit_section(match, self._rate, identified, request)
        if service is None:
            return Explanation(
                request=request_section(request, caller, address),
                verdict=_refused(error),
                nearly=tuple(self._hints(request)),
                rate_limit=rate_limit,
            )
        return Explanation(
            request=request_section(request, caller, address),
            verdict=self._outcome(error, match, request, identified),
            service=self._service_section(request, service, path, match),
            routes=tuple(check_routes(service, request.method, path, match)),
            access=access_section(identified, match.policy, error) if match else None,
            rate_limit=rate_limit,
            cache=cache_section(request, match, identified) if match else None,
            circuit=circuit_section(service, self._circuits(service.name), self._held(service.name), self._now),
            call=call_section(match, self._conditions(service)) if match else None,
        )

    def _by_host(self, request: Request) -> Service | None:
        return self._table.by_host(host(request))

    def _find_service(self, request: Request) -> tuple[Service | None, bytes, GatewayError | None]:
        """The service, the path within it, and the error if there is no such service."""
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
        except (BadRequest, MethodNotAllowed) as error:
            return None, error

    def _service_section(self, request: Request, service: Service, path: bytes, match: Match | None) -> dict[str, Any]:
        by_host = paths.split(request.path) is None or self._by_host(request) is not None
        return {
            "name": service.name,
            "found_by": "host" if by_host else "path",
            "enabled": service.policy.enabled,
            "path": (path or b"/").decode("latin-1"),
            "route": (match.pattern or NO_ROUTE) if match else None,
            "params": dict(match.params) if match else {},
        }

    def _hints(self, request: Request) -> Iterator[str]:
        """Services with a name close to the requested one."""
        path = paths.split(request.path)
        if path is None:
            yield f"services are reached under {paths.PREFIX.decode()}<service>/ or by a host name of their own"
            return
        requested = path.service.lower()
        by_lower_case = {name.lower(): name for name in self._table.services}
        for close in get_close_matches(requested, by_lower_case, n=3, cutoff=0.6):
            name = by_lower_case[close]
            yield f"{name}: names are case-sensitive" if close == requested else f"{name}: did you mean this?"

    def _outcome(
        self, error: GatewayError | None, match: Match | None, request: Request, caller: Caller | None
    ) -> ExplainedOutcome:
        if error is not None or match is None:
            return _refused(error)
        wait = self._wait(request, match, caller)
        if wait is not None:
            detail = f"the service has limited such calls, and accepts them again in {wait:.1f} s"
            return self._instead(BackendLimited, detail, match, request.method, caller)
        snapshot = self._circuits(match.service.name)
        _, permit = machine.admit(snapshot, match.service.policy.breaker, self._now, "explain")
        if isinstance(permit, Refusal):
            return self._instead(CircuitOpen, snapshot.reason, match, request.method, caller)
        return ExplainedOutcome(CALLED, detail="unless the cache has a fresh response" if match.policy.cache else "")

    def _instead(
        self, error: type[GatewayError], reason: str, match: Match, method: str, caller: Caller | None
    ) -> ExplainedOutcome:
        """What is returned instead of a call that `error` refuses."""
        fallback, refusal = match.policy.fallback, ""
        if fallback is not None and fallback.service is not None:
            found = fallback_match(self._table, match, method, caller)
            if isinstance(found, Match):
                return ExplainedOutcome(f"the fallback service {fallback.service} is called", code=error.code)
            why = found.detail if found is not None else "there is no such service"
            refusal = f"the fallback service {fallback.service} is not called: {why}"
        if fallback is not None and fallback.has_response:
            return ExplainedOutcome("the fallback is returned", fallback.status, error.code, refusal)
        outcome = "refused, unless the cache has a response"
        detail = "; ".join(text for text in (reason, refusal) if text)
        return ExplainedOutcome(outcome, int(error.status), error.code, detail)


def _malformed(request: Request) -> GatewayError | None:
    try:
        validation.validate(request)
    except GatewayError as error:
        return error
    return None


def _denial(caller: Caller | None, match: Match | None, unmatched: GatewayError | None) -> GatewayError | None:
    """The error of steps 3 and 4, in that order, if any."""
    auth = Auth.REQUIRED if match is None else match.policy.auth
    kind = "" if caller is None else caller.kind
    if auth in (Auth.CERTIFICATE, Auth.SIGNATURE) and kind not in (auth, STAFF):
        return Unauthenticated(f"this route requires a {auth}, and reads neither API keys nor tokens")
    if caller is None and auth is Auth.REQUIRED:
        return missing_credential()
    return authorize(match.service, match.policy, caller) if match else unmatched


def _later_denial(
    caller: Caller | None, match: Match | None, request: Request, address: str | None
) -> GatewayError | None:
    """The error of the lists of addresses and of the plan, which follow step 4."""
    if match is None:
        return None
    if address is not None and not permits(match.policy.ip, address):
        return AddressNotAllowed(f"the service may not be called from this address{_place(match.policy.ip, address)}")
    subscription = caller.subscription if caller is not None else None
    if subscription is None:
        return None
    if not subscription.allows(match.service.name, request.method):
        return Forbidden("the plan does not include this method of the service")
    if address is not None and not permits(subscription.ip, address):
        return AddressNotAllowed(f"the plan may not be used from this address{_place(subscription.ip, address)}")
    return None


def _place(policies: Addresses, address: str) -> str:
    """The address's country, where a list names countries."""
    return f" ({described_country(address)})" if name_countries(policies) else ""


def _refused(error: GatewayError | None) -> ExplainedOutcome:
    error = error or UnknownService("there is nothing at this path")
    return ExplainedOutcome("refused by the gateway", int(error.status), error.code, error.detail)
