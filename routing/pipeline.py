"""The nine steps of a request, in order: one list for each route, and the runner that takes them.

Rules and I/O live in the modules of routing/steps.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from resilience.cache.driver import Cache
from resilience.cache.flights import Flights
from resilience.cache.hit_counter import HitCounter
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.authenticator import Authenticator
from routing.errors import BadRequest, GatewayError, problem
from routing.exchange import Exchange, InternalEndpoint
from routing.http import ClientGone, Request, Response
from routing.idempotency.driver import Idempotency
from routing.idempotency.memory import MemoryStore
from routing.idempotency.record import IDEMPOTENCY_METHODS
from routing.messages.proxies import Network, TrustedProxies
from routing.messages.staff_origin import StaffOrigin
from routing.observability.events import Observers
from routing.router import paths
from routing.router.access import require_configuration
from routing.router.hosts import ANY, AllowedHosts
from routing.router.live import LiveConfiguration
from routing.router.resolution import Resolution
from routing.router.resolution_cache import ResolutionCache
from routing.router.table import Match
from routing.steps.cache.cache_key import CacheKeys
from routing.steps.cache.coalescing import Coalescing
from routing.steps.cache.lookup import CACHED_METHODS, CacheLookup
from routing.steps.cache.store import CacheStore
from routing.steps.calls import Calls
from routing.steps.cross_origin import CrossOrigin
from routing.steps.fallbacks import Fallbacks
from routing.steps.gatekeeper import Gatekeeper
from routing.steps.max_forwards import MaxForwards
from routing.steps.respond import Accounting, Responder

Step = Callable[[Exchange], Response | Awaitable[Response | None] | None]
"""Takes the exchange, and returns None to go on, the response, or an awaitable of either. The last one responds."""
Handler = Callable[[Exchange], Awaitable[Response]]

_AUTHORISED: Final = 2
"""Steps of every list that an operator's request does not take: rate limit and authentication."""


class GatewayRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every service."""

    rate: RatePolicy = RatePolicy()
    max_body_bytes: int = 10 * 1024 * 1024
    trusted_proxies: tuple[Network, ...] = ()
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = (ANY,)
    staff: StaffOrigin = StaffOrigin()


class Gateway:
    """`answer` takes any request under `/api/v1/<service>/`, or for a service's own host."""

    def __init__(
        self,
        *,
        rules: GatewayRules,
        live: LiveConfiguration,
        limiter: Limiter,
        authenticator: Authenticator,
        cache: Cache,
        calls: Calls,
        observers: Observers,
        own_cookies: frozenset[bytes] = frozenset(),
        cache_keys: CacheKeys | None = None,
        flights: Flights | None = None,
        hit_counter: HitCounter | None = None,
        idempotency: Idempotency | None = None,
        accounting: Accounting | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.live = live
        self.allowed_hosts = AllowedHosts(rules.allowed_hosts)
        self.proxies = TrustedProxies(rules.trusted_proxies) if rules.trusted_proxies else None
        self._clock, self._timer = clock, timer
        self._cross_origin = CrossOrigin(rules.cors_origins, live, rules.staff)
        self._gatekeeper = Gatekeeper(
            live, limiter, authenticator, rate=rules.rate, max_body_bytes=rules.max_body_bytes, timer=timer
        )
        self._max_forwards = MaxForwards(live)
        self._coalescing = Coalescing(cache, flights or Flights(clock=clock), self._fetch, clock=clock, timer=timer)
        hits = hit_counter or HitCounter()
        keys = cache_keys or CacheKeys(own_cookies)
        self._lookup = CacheLookup(cache, self._coalescing, keys=keys, hit_counter=hits, timer=timer)
        self._store = CacheStore(cache, self._fetch, own_cookies=own_cookies, clock=clock, timer=timer)
        self._calls = calls
        self._fallbacks = Fallbacks(live, self._gatekeeper, calls, self._store, timer=timer)
        self._idempotency = idempotency or Idempotency(MemoryStore(clock), emit=observers.backend_event)
        self._accounting = accounting or Accounting(observers, timer)
        self._responder = Responder(self._cross_origin.default, self._accounting, timer)
        self._resolutions = ResolutionCache(live, self._compile, self.allowed_hosts)
        self._compiled_table = live.table
        self._compiled: dict[tuple[int, bool, bool, bool], tuple[Step, ...]] = {}

    def steps(self, match: Match, method: str) -> list[tuple[str, Step]]:
        """The steps of a request to this route, by name: only those that have something to do.

        1, request id, comes before them in `begin`, since it makes the exchange; 9, return, after them in `Responder`,
        since an error of any step is returned too.
        """
        policy = match.policy
        look_up = self._lookup.look_up if method in CACHED_METHODS else self._lookup.bypass_method
        steps: list[tuple[str, Step | None]] = [
            ("rate limit", self._gatekeeper.limit),
            ("authentication", self._gatekeeper.identify),
            ("service router", self._gatekeeper.route),
            ("max forwards", self._max_forwards.limit if method == "OPTIONS" else None),
            ("cache check", look_up if policy.cache is not None else self._lookup.bypass_off),
            ("idempotency", self._once if policy.idempotency and method in IDEMPOTENCY_METHODS else None),
            ("circuit breaker", self._calls.admit),
            ("backend call", self._calls.call),
            ("fallback", self._fallbacks.replace if policy.fallback and policy.fallback.service else None),
            ("store", self._store.store),
        ]
        return [(name, step) for name, step in steps if step is not None]

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """The response: at once, where no step has to wait. Raises nothing but CancelledError."""
        exchange = self.begin(request)  # 1 request id
        remaining: Iterator[Step] = iter(())
        try:
            result: Response | Awaitable[Response | None] | None = None
            if request.method == "OPTIONS":
                result = self._preflight(exchange)
            if result is None:
                exchange.resolution = self._resolutions.of(request)
                remaining = iter(exchange.resolution.steps)
                result = _advance(exchange, remaining)
        except Exception as error:  # noqa: BLE001 - becomes a problem document, and is logged where the fault is ours
            result = self._fallbacks.try_response(exchange, error) or self._responder.error(exchange, error)
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
        limit, identify = self._gatekeeper.limit, self._gatekeeper.identify
        steps: tuple[Step, ...] = (self._preflight, self.resolve, limit, identify, handler)
        return await self._complete(exchange, None, iter(steps))

    async def admit(self, exchange: Exchange, *, anonymous: bool = False) -> None:
        """Steps 2 and 3 of a WebSocket. `anonymous` admits it without a credential, with `caller` None.

        Raises GatewayError.
        """
        self.resolve(exchange)
        if (limiting := self._gatekeeper.limit(exchange)) is not None:
            await limiting
        if anonymous and exchange.credential is None and exchange.resolution.credential_state.parse_error is None:
            return
        identifying = self._gatekeeper.identify(exchange)
        if identifying is not None:
            await identifying

    def route(self, exchange: Exchange) -> None:
        """Step 4 of a WebSocket. Raises GatewayError."""
        self._gatekeeper.route(exchange)

    async def refetch(self, request: Request) -> Response:
        """Steps 4 to 8 for an operator, who has been authorised already: a response fetched to be stored.

        Raises GatewayError.
        """
        exchange = self.begin(request).without_client()
        self.resolve(exchange)
        exchange.caller_slot = exchange.resolution.caller_slot(exchange.caller)
        response = await self._rest(exchange, None, iter(exchange.resolution.steps[_AUTHORISED:]))
        response.headers.append((b"cache-status", exchange.cache.cache_status.encode()))
        return response

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
        exchange.endpoint = endpoint
        return exchange

    async def close(self) -> None:
        """End the fetches in the background."""
        await self._coalescing.close()

    async def _complete(
        self, exchange: Exchange, pending: Awaitable[Response | None] | None, remaining: Iterator[Step]
    ) -> Response:
        """The response of the step that has to wait or of those after it, or the problem document of an error."""
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
                result = _advance(exchange, remaining)
                response = result if isinstance(result, Response) else await result
        except GatewayError as error:
            reading = self._store.stale(exchange, error)
            response = await reading if reading is not None else None
            response = response or await self._fallbacks.response(exchange, error)
            if response is None:
                raise
        except BaseException:
            self._store.release(exchange)
            raise
        return response

    async def _fetch(self, exchange: Exchange) -> Response:
        """Steps 6 to 8, once more or in the background. Raises GatewayError."""
        steps = (self._calls.admit, self._calls.call, self._fallbacks.replace, self._store.store)
        return await self._rest(exchange, None, iter(steps))

    def _once(self, exchange: Exchange) -> Awaitable[Response] | None:
        """Before step 6, where the request has an Idempotency-Key: its first response, or steps 6 to 8."""
        return self._idempotency.run_once(exchange, self._fetch) if self._idempotency.applies_to(exchange) else None

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
        match = resolution.match
        self._cross_origin.apply(resolution)
        if match is None:
            last: Step = self._gatekeeper.index if resolution.is_index else self._gatekeeper.route  # which raises
            return self._gatekeeper.limit, self._gatekeeper.identify, last
        if self._compiled_table is not self.live.table:
            self._compiled_table = self.live.table
            self._compiled.clear()
        key = id(match.policy), method in CACHED_METHODS, method in IDEMPOTENCY_METHODS, method == "OPTIONS"
        steps = self._compiled.get(key)
        if steps is None:
            steps = self._compiled[key] = tuple([step for _, step in self.steps(match, method)])
        return steps


def _advance(exchange: Exchange, remaining: Iterator[Step]) -> Response | Awaitable[Response | None]:
    """Take steps until one responds or has to wait."""
    for step in remaining:
        result = step(exchange)
        if result is not None:
            return result
    raise AssertionError("the last step responds")
