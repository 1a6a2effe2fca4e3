"""The nine steps of one request, in order, and nothing else: rules and waiting are their rooms' own."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.authenticator import Authenticator
from routing.errors import BadRequest, BodyTooLarge, CircuitOpen, GatewayError, InternalError, UnknownService, problem
from routing.exchange import Exchange, InternalEndpoint, debug_field, rate_fields, timing_field
from routing.http import ClientGone, Headers, Request, Response, first
from routing.idempotency.driver import Idempotency
from routing.idempotency.memory import MemoryStore
from routing.messages import validation
from routing.messages.cors import Cors
from routing.observability.events import Observers
from routing.router.live import LiveConfiguration
from routing.router.resolution import ResolutionCache
from routing.steps.accounting import Accounting
from routing.steps.cache.lookup import Caching
from routing.steps.calls import Calling
from routing.steps.gatekeeper import Gatekeeper

log = logging.getLogger(__name__)

Step = Callable[[Exchange], Awaitable[Response]]

DEBUG: Final = "debug"


class GatewayRules(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every service."""

    rate: RatePolicy = RatePolicy()
    max_body_bytes: int = 10 * 1024 * 1024
    trusted_proxies: tuple[validation.Network, ...] = ()
    cors_origins: tuple[str, ...] = ()


class Gateway:
    """One door: `handle` takes any request under `/api/v1/<service>/`, or for a service's own host."""

    def __init__(
        self,
        *,
        rules: GatewayRules,
        live: LiveConfiguration,
        limiter: Limiter,
        authenticator: Authenticator,
        caching: Caching,
        calling: Calling,
        observers: Observers,
        idempotency: Idempotency | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.live = live
        self._rules = rules
        self._ways = ResolutionCache(live)
        self._gatekeeper = Gatekeeper(limiter, authenticator, rules.rate, timer)
        self._caching = caching
        caching.fetch = self._fetch
        self._calling = calling
        self._accounts = Accounting(observers, timer)
        self._idempotency = idempotency or Idempotency(MemoryStore(clock), tell=observers.backend_event)
        self._cors = Cors(rules.cors_origins)
        self._clock = clock
        self._timer = timer

    def serves(self, path: str, host: str) -> bool:
        """Whether a request is the gateway's to answer: by its path, or as a service's own host."""
        return path.startswith("/api/v1/") or path == "/api/v1" or self.owns(host)

    def owns(self, host: str) -> bool:
        """Whether `host` is a service's own."""
        return self.live.table.by_host(host) is not None

    async def handle(self, request: Request) -> Response:
        """Answer one request. Never raises but CancelledError, the client's doing."""
        ready = self.answer(request)
        return ready if isinstance(ready, Response) else await ready

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """The answer, at once where nobody need be waited for."""
        exchange = self.begin(request)  # 1 request id
        try:
            found = self._cors.preflight(request) or self._at_hand(exchange)
        except Exception as error:  # noqa: BLE001 - it is answered, and logged where it is a fault of ours
            found = self._failed(exchange, error)
        return self._finish(exchange, found) if isinstance(found, Response) else self._answered(exchange, found)

    def _at_hand(self, exchange: Exchange) -> Response | Step:
        """Steps 2 to 6 as far as nobody need be waited for: the answer, or how it goes on from there."""
        exchange.resolution = self._ways.of(exchange.request)
        if not (self._gatekeeper.try_limit(exchange) and self._gatekeeper.try_identify(exchange)):
            return self._steps
        if exchange.resolution.is_index:
            return self._services(exchange)
        self.route(exchange)
        response = self._caching.at_hand(exchange)
        if response is not None:
            return response
        if not self._caching.passed_by(exchange):
            return self._found
        return self._fetch if self._idempotency.guards(exchange) else self._let_go_on(exchange)

    def _let_go_on(self, exchange: Exchange) -> Response | Step:
        """Step 6 at its shortest: a closed circuit's leave, or what an open one comes to."""
        try:
            exchange.permit = self._calling.try_admit(exchange)
        except CircuitOpen as error:
            exchange.call_error = error.code
            return self._caching.fallback(exchange, error) or self._refusal(exchange, error)
        return self._forward

    async def _steps(self, exchange: Exchange) -> Response:
        if exchange.decision is None:
            await self._gatekeeper.limit(exchange)  # 2 rate limit
        if exchange.caller is None:
            await self._gatekeeper.identify(exchange)  # 3 authentication
        if exchange.resolution.is_index:
            return self._services(exchange)
        self.route(exchange)  # 4 service router
        return await self._found(exchange)

    async def _found(self, exchange: Exchange) -> Response:
        response = await self._caching.lookup(exchange)  # 5 cache check
        if response is None:
            response = await self._fetch(exchange)  # 6 circuit breaker, 7 backend call, 8 store
        return response

    async def _answered(self, exchange: Exchange, steps: Step) -> Response:
        """What `steps` come to, or what they raise as an answer."""
        try:
            response = await steps(exchange)
        except ClientGone:
            self._accounts.gone(exchange)
            # Read by nobody, unless the body did not end but broke the rules of its framing: a server tells both alike.
            return problem(BadRequest("the body ended before it was whole"), exchange.id)
        except asyncio.CancelledError:
            self._accounts.gone(exchange)
            raise
        except Exception as error:  # noqa: BLE001 - as above
            response = self._failed(exchange, error)
        return self._finish(exchange, response)  # 9 return

    async def renewed(self, request: Request) -> Response:
        """Steps 4 to 8 for an operator, who has been let in already: an answer fetched to be stored. Raises
        GatewayError.
        """
        exchange = self.begin(request)
        exchange.resolution = self._ways.of(request)
        exchange.caller_slot = exchange.resolution.caller_slot(exchange.caller)
        self.route(exchange)
        response = await self._found(exchange)
        response.headers.append((b"cache-status", exchange.cache_status.encode()))
        return response

    async def page(self, request: Request, own: InternalEndpoint | None, answer: Step) -> Response:
        """A page of the gateway's own, behind steps 1 to 3 like any other request."""

        async def steps(exchange: Exchange) -> Response:
            preflight = self._cors.preflight(request)
            if preflight is not None:
                return preflight
            await self.admit(exchange)
            return await answer(exchange)

        return await self._answered(self.begin(request, own), steps)

    async def admit(self, exchange: Exchange, *, anonymous: bool = False) -> None:
        """Steps 2 and 3. `anonymous`: no credential at all is let in, with `caller` None. Raises GatewayError."""
        exchange.resolution = self._ways.of(exchange.request)
        if not self._gatekeeper.try_limit(exchange):
            await self._gatekeeper.limit(exchange)
        if not anonymous or exchange.credential or exchange.resolution.credential_state.parse_error:
            await self._gatekeeper.identify(exchange)

    def tell(self, exchange: Exchange, status: int, code: str = "") -> None:
        """Account for an exchange that was answered otherwise than by a Response."""
        exchange.error_code = code
        self._accounts.told(exchange, status)

    def _fetch(self, exchange: Exchange) -> Awaitable[Response]:
        if self._idempotency.guards(exchange):
            return self._idempotency.once(exchange, self._forward)
        return self._forward(exchange)

    async def _forward(self, exchange: Exchange) -> Response:
        try:
            leave = exchange.permit or self._calling.try_admit(exchange)  # 6 circuit breaker
            leave = leave or await self._calling.admit(exchange)
            called = await self._calling.call(exchange, leave)  # 7 backend call
        except GatewayError as error:
            exchange.call_error = error.code
            response = await self._caching.instead(exchange, error)
            if response is None:
                raise
            return response
        except BaseException:
            self._caching.abandoned(exchange)
            raise
        return await self._caching.stored(exchange, called)  # 8 store

    def begin(self, request: Request, own: InternalEndpoint | None = None) -> Exchange:
        """Step 1. `own` is the gateway's own page that is asked for, if it has a limit of its own."""
        trusted = self._rules.trusted_proxies
        if trusted:
            peer = request.client
            request.client = validation.client_address(peer, request.headers, trusted)
            request.scheme = validation.client_scheme(peer, request.scheme, request.headers, trusted)
        exchange = Exchange.begin(request, self._clock(), self._timer())
        exchange.endpoint = own
        return exchange

    def route(self, exchange: Exchange) -> None:
        """Step 4. Raises GatewayError."""
        refusal, match = exchange.caller_slot.terms.denial, exchange.resolution.match
        if refusal is not None:
            raise refusal.with_traceback(None)
        if match is None:
            raise UnknownService("the list of services is none of them")
        exchange.match = match
        length = exchange.request.fields.get(b"content-length")
        if length is not None:
            self._check_length(exchange, length)
        if exchange.step_log is not None:
            exchange.mark("service router", f"{match.service.name}{match.pattern}", self._timer())

    def _check_length(self, exchange: Exchange, length: bytes) -> None:
        if not length.isdigit():
            raise BadRequest("Content-Length is not a number")
        if int(length) > self._rules.max_body_bytes:
            raise BodyTooLarge(f"the body is over {self._rules.max_body_bytes} bytes", service=exchange.service)

    def _services(self, exchange: Exchange) -> Response:
        """`GET /api/v1/`: those this caller may use."""
        caller = exchange.caller
        services = [
            {"name": service.name, "path": f"/api/v1/{service.name}/", "enabled": service.policy.enabled}
            for service in self.live.table.services.values()
            if caller is not None and caller.may_use(service.name, service.policy.scopes)
        ]
        body = msgspec.json.encode({"services": services})
        return Response(200, [(b"content-type", b"application/json"), (b"cache-control", b"private, no-store")], body)

    def _failed(self, exchange: Exchange, error: Exception) -> Response:
        if isinstance(error, GatewayError):
            return self._refusal(exchange, error)
        log.error("request %s failed inside the gateway", exchange.id, exc_info=error)
        return self._refusal(exchange, InternalError("the request could not be handled"))

    def _refusal(self, exchange: Exchange, error: GatewayError) -> Response:
        exchange.error_code = error.code
        return problem(error, exchange.id)

    def _finish(self, exchange: Exchange, response: Response) -> Response:
        self._tell_of(exchange, response.headers)
        if exchange.step_log is not None:
            exchange.mark("return", str(response.status), self._timer())
            if exchange.step_log.shown and exchange.caller and exchange.caller.holds(DEBUG):
                response.headers.append(debug_field(exchange))
        body = response.body
        if type(body) is bytes:
            if not response.framed:
                _frame(response, body)
            if exchange.request.method == "HEAD":
                response.body = body = b""
            self._accounts.told(exchange, response.status, len(body))
        else:
            self._accounts.begun(exchange, response)
        return response

    def _tell_of(self, exchange: Exchange, headers: Headers) -> None:
        """Add the gateway's own fields."""
        headers += ((b"x-request-id", exchange.id.encode()), timing_field(exchange, self._timer()))
        if exchange.cache_status:
            headers.append((b"x-cache", exchange.cache.encode()))
            headers.append((b"cache-status", exchange.cache_status.encode()))
        if exchange.decision is not None:
            headers += rate_fields(exchange.rate, exchange.decision)
        if exchange.circuit:
            headers.append((b"x-circuit-state", exchange.circuit.encode()))
        if self._cors.origins:
            headers += self._cors.fields(exchange.request)


def _frame(response: Response, body: bytes) -> None:
    """The length of a whole body."""
    if response.status not in (204, 304) and first(response.headers, b"content-length") is None:
        response.headers.append((b"content-length", b"%d" % len(body)))
