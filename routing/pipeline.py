"""The nine steps of a request, in order: one list for each route, and the runner that takes them.

Rules and I/O live in the modules of routing/steps.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from resilience.ratelimit.driver import Limiter
from routing.authentication.authenticator import Authenticator
from routing.authentication.key_usage import KeyUsage
from routing.authentication.signatures.nonces import MemoryNonces, Nonces
from routing.credentials.driver import Credentials
from routing.errors import BadRequest, GatewayError
from routing.exchange import Exchange, InternalEndpoint
from routing.gateway_rules import GatewayRules
from routing.http import ClientGone, Request, Response
from routing.idempotency.driver import Idempotency
from routing.idempotency.memory import MemoryStore
from routing.idempotency.record import IDEMPOTENCY_METHODS
from routing.messages.proxies import TrustedProxies
from routing.observability.events import Observers
from routing.problems import problem
from routing.router import paths
from routing.router.access import require_configuration
from routing.router.hosts import AllowedHosts
from routing.router.live import LiveConfiguration
from routing.router.policy import Auth
from routing.router.resolution import Resolution
from routing.router.resolution_cache import ResolutionCache
from routing.router.table import Match
from routing.steps.cache.steps import CacheDependencies, CacheSteps
from routing.steps.calls import Calls
from routing.steps.compiled import CompiledSteps, Step, advance
from routing.steps.credential import CredentialSteps
from routing.steps.cross_origin import CrossOrigin
from routing.steps.fallbacks import Fallbacks
from routing.steps.gatekeeper import Gatekeeper
from routing.steps.max_forwards import MaxForwards
from routing.steps.metering import Meter
from routing.steps.plan import PlanLimits
from routing.steps.presented import Check, PresentedCredentials
from routing.steps.request_log import NO_REQUEST_LOG, RequestLog
from routing.steps.respond import Accounting, Responder

Handler = Callable[[Exchange], Awaitable[Response]]

_STEPS_FOR_CALLERS: Final = 2
"""How many steps at the start of each list an operator's request skips: rate limit and authentication."""


class Gateway:
    """`answer` takes any request under `/api/v1/<service>/`, or for a service's own host."""

    def __init__(
        self,
        *,
        rules: GatewayRules,
        live: LiveConfiguration,
        limiter: Limiter,
        authenticator: Authenticator,
        cache: CacheDependencies,
        calls: Calls,
        observers: Observers,
        credentials: Credentials | None = None,
        idempotency: Idempotency | None = None,
        meter: Meter | None = None,
        request_log: RequestLog = NO_REQUEST_LOG,
        plan_limits: PlanLimits | None = None,
        key_usage: KeyUsage | None = None,
        nonces: Nonces | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.live, self._calls, self._plan_limits, self._clock, self._timer = live, calls, plan_limits, clock, timer
        self.rules, self.allowed_hosts = rules, AllowedHosts(rules.allowed_hosts)
        self.proxies = TrustedProxies(rules.trusted_proxies) if rules.trusted_proxies else None
        self._cross_origin = CrossOrigin(rules.cors_origins, live, rules.staff, rules.portal)
        self._gatekeeper = Gatekeeper(rules, live, limiter, authenticator, timer, clock=clock, key_usage=key_usage)
        self._presented = PresentedCredentials(self._gatekeeper, live, nonces or MemoryNonces(clock), timer)
        self._cache_steps = CacheSteps(cache, self._fetch, observers, clock=clock, timer=timer)
        self._store = self._cache_steps.store
        self.credentials = CredentialSteps(credentials, calls, emit=observers.backend_event, timer=timer)
        self.fallbacks = Fallbacks(live, self._gatekeeper, self._store, self.credentials, timer=timer)
        self._idempotency = idempotency or Idempotency(MemoryStore(clock), emit=observers.backend_event)
        self._request_log, self._until_sample = request_log, request_log.next_sample()
        self._accounting = self._open_accounting(observers, meter, request_log)
        not_asked = None if plan_limits is None else plan_limits.not_asked
        self._responder = Responder(self._cross_origin.of_unresolved, self._accounting, timer, not_asked)
        self._resolutions = ResolutionCache(live, self._compile, self.allowed_hosts)
        self._compiled = CompiledSteps(live, self.steps)

    def steps(self, match: Match, method: str) -> list[tuple[str, Step]]:
        """The steps of a request to this route, by name: only those that have something to do.

        1, request id, comes before them in `begin`, which makes the exchange; 9, return, after them, for errors too.
        """
        self._until_sample = min(self._until_sample, self._request_log.next_sample())  # shares may have changed
        policy = match.policy
        limit, identify = self._presented.steps(policy.auth)
        steps: list[tuple[str, Step | None]] = [
            ("rate limit", limit),
            ("authentication", identify),
            ("service router", self._gatekeeper.route),
            ("network", self._gatekeeper.check_address if policy.ip else None),
            ("plan", self._plan_step() if self.live.keys.has_limits else None),
            ("max forwards", MaxForwards(self.live).limit if method == "OPTIONS" else None),
            ("cache check", self._cache_steps.check.step(policy, method)),
            ("idempotency", self._once if policy.idempotency and method in IDEMPOTENCY_METHODS else None),
            ("credential", self.credentials.attach if policy.credential else None),
            ("circuit breaker", self._calls.admit),
            ("backend call", self._calls.call),
            ("credential renewal", self.credentials.renew if policy.credential else None),
            ("fallback", self.fallbacks.replace if policy.fallback and policy.fallback.service else None),
            ("own invalidation", self._store.own.apply if policy.cache and policy.cache.invalidate_own else None),
            ("store", self._store.store),
        ]
        return [(name, step) for name, step in steps if step is not None]

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """The response: at once, where no step has to wait. Raises nothing but CancelledError."""
        exchange = self.begin(request)  # 1 request id
        remaining: Iterator[Step] = iter(())
        try:
            result: Response | Awaitable[Response | None] | None
            result = self._preflight(exchange) if request.method == "OPTIONS" else None
            if result is None:
                exchange.resolution = self._resolutions.of(request)
                remaining = iter(exchange.resolution.steps)
                result = advance(exchange, remaining)
        except Exception as error:  # noqa: BLE001 - becomes a problem document, and is logged where the fault is ours
            result = self.fallbacks.try_response(exchange, error) or self._responder.error(exchange, error)
        if isinstance(result, Response):
            return self._responder.respond(exchange, result)  # 9 return
        return self._complete(exchange, result, remaining)

    async def handle(self, request: Request) -> Response:
        """The same, for callers that wait in any case."""
        response = self.answer(request)
        return response if isinstance(response, Response) else await response

    async def serve(self, request: Request, endpoint: InternalEndpoint | None, handler: Handler) -> Response:
        """An endpoint of the gateway's own, behind steps 1 to 3 like any other request."""
        exchange = self.begin(request, endpoint)
        own = self._gatekeeper
        limit, identify = self._presented.steps(Auth.REQUIRED)
        steps = (self._preflight, self.resolve, own.guard, limit, identify, own.check_plan_address, handler)
        return await self._complete(exchange, None, iter(steps))

    async def serve_anonymous(self, request: Request, handler: Handler) -> Response:
        """The same for an endpoint whose requests have no credential, which limits them itself."""
        return await self._complete(self.begin(request), None, iter((self.resolve, handler)))

    async def admit(self, exchange: Exchange, *, anonymous: bool = False) -> None:
        """Steps 2 and 3 of a WebSocket; `anonymous`: also without a credential, `caller` None. Raises GatewayError."""
        self.resolve(exchange)
        self._gatekeeper.guard(exchange)
        limit, identify = self._presented.steps(exchange.resolution.auth)
        if (limiting := limit(exchange)) is not None:
            await limiting
        if anonymous and exchange.proof is None and exchange.resolution.credential_state.parse_error is None:
            return
        if (identifying := identify(exchange)) is not None:
            await identifying
        if anonymous:
            self._gatekeeper.check_plan_address(exchange)

    async def route(self, exchange: Exchange) -> None:
        """Step 4 of a WebSocket, and the limits of its caller's plan. Raises GatewayError."""
        self._gatekeeper.route(exchange)
        self._gatekeeper.check_address(exchange)
        limit = self._plan_step()
        if limit is not None and (limiting := limit(exchange)) is not None:
            await limiting

    def _plan_step(self) -> Check | None:
        return None if self._plan_limits is None else self._presented.returning_nonce(self._plan_limits.admit)

    async def refetch(self, request: Request) -> Response:
        """Steps 4 to 8 for an operator, who has been authorised already: a response fetched to be stored.

        Raises GatewayError.
        """
        exchange = self.begin(request).without_client()
        self.resolve(exchange)
        exchange.caller_slot = exchange.resolution.caller_slot(exchange.caller)
        response = await self._rest(exchange, None, iter(exchange.resolution.steps[_STEPS_FOR_CALLERS:]))
        response.headers.append((b"cache-status", exchange.cache.cache_status.encode()))
        return response

    def refusal(self, exchange: Exchange, error: GatewayError) -> Response:
        """The response to a WebSocket's handshake that is refused, which `account` accounts for."""
        return self._responder.refusal(exchange, error)

    def account(self, exchange: Exchange, status: int, code: str = "") -> None:
        """Account for an exchange that was answered otherwise than by a Response."""
        exchange.error_code = code
        self._accounting.finished(exchange, status)

    def serves(self, path: str, host: str) -> bool:
        """Whether a request is the gateway's to answer: by its path, or by a service's own host."""
        return paths.contains(path) or self.owns(host)

    def owns(self, host: str) -> bool:
        """Whether `host` is a service's own."""
        return self.live.table.by_host(host) is not None

    def begin(self, request: Request, endpoint: InternalEndpoint | None = None) -> Exchange:
        """Step 1. `endpoint` is the internal endpoint that is requested, if it has a rate limit of its own."""
        if self.proxies is not None:
            self.proxies.apply(request)
        exchange = Exchange.begin(request, self._clock(), self._timer())
        if endpoint is not None:
            exchange.endpoint = endpoint
        self._until_sample -= 1
        if self._until_sample < 0:
            self._until_sample = self._request_log.next_sample(exchange)
        return exchange

    async def close(self) -> None:
        """End the fetches in the background."""
        await self._cache_steps.coalescing.close()

    async def _complete(
        self, exchange: Exchange, pending: Awaitable[Response | None] | None, remaining: Iterator[Step]
    ) -> Response:
        """The response of the step that has to wait or of those after it, or the problem document of an error."""
        self._request_log.waiting(exchange)
        try:
            response = await self._rest(exchange, pending, remaining)
        except ClientGone:
            self._accounting.aborted(exchange)
            # Nobody reads it, unless the body broke the rules of its framing: servers report both the same way.
            return problem(BadRequest("the body ended before it was complete"), exchange.id)
        except asyncio.CancelledError:
            self._accounting.aborted(exchange)
            raise
        except Exception as error:  # noqa: BLE001 - as in `answer`
            response = self._responder.error(exchange, error)
        return self._responder.respond(exchange, response)  # 9 return

    async def _rest(
        self, exchange: Exchange, pending: Awaitable[Response | None] | None, remaining: Iterator[Step]
    ) -> Response:
        """The same, where errors are raised unless a stale response or the fallback stands in."""
        try:
            response = await pending if pending is not None else None
            while response is None:
                result = advance(exchange, remaining)
                response = result if isinstance(result, Response) else await result
        except GatewayError as error:
            reading = self._store.stale(exchange, error)
            response = await reading if reading is not None else None
            response = response or await self.fallbacks.response(exchange, error)
            if response is None:
                raise
        except BaseException:
            self._store.release(exchange)
            raise
        return response

    async def _fetch(self, exchange: Exchange) -> Response:
        """Steps 6 to 8, once more or in the background. Raises GatewayError."""
        steps: tuple[Step, ...] = (self._calls.admit, self._calls.call)
        if exchange.match.policy.credential is not None:
            steps = (self.credentials.attach, *steps, self.credentials.renew)
        last = (self.fallbacks.replace, self._store.own.apply, self._store.store)
        return await self._rest(exchange, None, iter((*steps, *last)))

    def _once(self, exchange: Exchange) -> Awaitable[Response] | None:
        """Before step 6, where the request has an Idempotency-Key: its first response, or steps 6 to 8."""
        return self._idempotency.run_once(exchange, self._fetch) if self._idempotency.applies_to(exchange) else None

    def _open_accounting(self, observers: Observers, meter: Meter | None, request_log: RequestLog) -> Accounting:
        return Accounting(observers, self._timer, meter, request_log)

    def _preflight(self, exchange: Exchange) -> Response | None:
        preflight = self._cross_origin.preflight(exchange.request)
        exchange.resolution, response = preflight or (exchange.resolution, None)
        return response

    def resolve(self, exchange: Exchange) -> None:
        """Find the request's route and credential. Raises BadRequest, HeadersTooLarge or TargetTooLong.

        And ConfigurationUnavailable, since endpoints and sockets authenticate without a route.
        """
        require_configuration(self.live.table)
        exchange.resolution = self._resolutions.of(exchange.request)

    def _compile(self, resolution: Resolution, method: str) -> tuple[Step, ...]:
        """A resolution's steps: its route's, compiled once for each table. Also what browsers may do."""
        match, own = resolution.match, self._gatekeeper
        self._cross_origin.apply(resolution)
        last: Step = own.index if resolution.is_index else own.route  # which raises
        steps = (*self._presented.steps(resolution.auth), last) if match is None else self._compiled.of(match, method)
        return (own.guard, *steps) if own.guards(resolution.credential_state) else steps
