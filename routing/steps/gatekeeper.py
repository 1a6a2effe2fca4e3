"""Steps 2 and 3: whose request this is, and whether it is within its caller's limit."""

import math
from collections.abc import Callable
from functools import lru_cache

from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision
from routing.authentication.authenticator import Authenticator, Credential, invalid
from routing.caller import Caller
from routing.errors import RateLimited, Unauthenticated
from routing.exchange import Exchange
from routing.messages import validation
from routing.router.policy import Auth
from routing.router.resolution import REVERIFY_SECONDS, CredentialState, Grant


class Gatekeeper:
    """`rate` is the gateway's own, for services that set none; `timer` is monotonic seconds."""

    def __init__(
        self, limiter: Limiter, authenticator: Authenticator, rate: RatePolicy, timer: Callable[[], float]
    ) -> None:
        self._limiter = limiter
        self._authenticator = authenticator
        self._rate = rate
        self._timer = timer

    def try_limit(self, exchange: Exchange) -> bool:
        """Step 2, where no other worker need be asked. False: `limit` is to be awaited. Raises RateLimited.

        By caller where the credential is already known, else by address: junk tokens cost their sender.
        """
        way, bearer = exchange.resolution, exchange.resolution.credential_state
        if exchange.caller is None and bearer.credential is not None and way.auth is not Auth.NONE:
            known = exchange.received_at < bearer.verified_until
            exchange.caller = bearer.caller if known else self._known(bearer, bearer.credential, exchange.received_at)
        self._count(exchange)
        decision = self._limiter.try_take(exchange.rate_key, exchange.rate)
        if decision is None:
            return False
        self._decide(exchange, decision)
        return True

    async def limit(self, exchange: Exchange) -> None:
        """Raises RateLimited."""
        self._decide(exchange, await self._limiter.take(exchange.rate_key, exchange.rate))

    def try_identify(self, exchange: Exchange) -> bool:
        """Step 3, where nobody need be asked: the caller, if one is asked for. False: `identify` is to be awaited.

        Raises Unauthenticated.
        """
        way, bearer = exchange.resolution, exchange.resolution.credential_state
        if exchange.caller is not None or way.auth is Auth.NONE:
            return True
        if bearer.parse_error:
            raise bearer.parse_error.with_traceback(None)
        if bearer.credential is None:
            if way.auth is Auth.REQUIRED:
                raise Unauthenticated("send an API key or a Firebase ID token")
            return True
        if not self._authenticator.may_verify(bearer.credential):
            raise invalid(bearer.credential)
        return False

    async def identify(self, exchange: Exchange) -> None:
        """Raises Unauthenticated, AuthenticationUnavailable or RateLimited."""
        credential = exchange.credential
        if self.try_identify(exchange) or credential is None:
            return
        exchange.caller = await self._authenticator.verify(credential, exchange.received_at)
        exchange.mark("authentication", exchange.caller.id, self._timer())
        await self._recharge(exchange)

    def _known(self, bearer: CredentialState, borne: Credential, now: float) -> Caller | None:
        """The credential's caller, and remembered as such. A token that nobody knows may be known the next moment."""
        caller = self._authenticator.known(borne, now)
        if caller is not None or borne.is_key:
            expires = caller.expires if caller is not None else None
            bearer.caller = caller
            bearer.verified_until = min(now + REVERIFY_SECONDS, math.inf if expires is None else expires)
        return caller

    def _count(self, exchange: Exchange) -> None:
        """Whom the request counts for, and under which limit."""
        seat = exchange.caller_slot = exchange.resolution.caller_slot(exchange.caller)
        terms = seat.terms
        if exchange.endpoint or not terms.rate_key:
            self._name(exchange, terms)
        else:
            exchange.rate, exchange.rate_key = terms.rate, terms.rate_key

    def _name(self, exchange: Exchange, terms: Grant) -> None:
        """The same, worked out; and kept for the next time, unless it counts by address or for a page."""
        match, caller = exchange.resolution.match, exchange.caller
        own, name = match.policy.rate_limit if match else None, exchange.service
        if exchange.endpoint and caller:
            own, name = exchange.endpoint.rate, exchange.endpoint.name
        exchange.rate = own or self._rate
        whose = caller.id if caller else validation.limited_address(exchange.request.client)
        exchange.rate_key = f"{name if own else ''}|{exchange.rate}|{whose}"
        if caller and not exchange.endpoint:
            terms.rate, terms.rate_key = exchange.rate, exchange.rate_key

    def _decide(self, exchange: Exchange, decision: Decision) -> None:
        exchange.decision = decision
        if exchange.step_log is not None:
            exchange.mark("rate limit", exchange.rate_key, self._timer())
        if not decision.granted:
            policy, match = exchange.rate, exchange.resolution.match
            raise RateLimited(
                _over(policy.limit, policy.window),
                service=exchange.service if match and match.policy.rate_limit else None,
                retry_after=decision.reset,
            )

    async def _recharge(self, exchange: Exchange) -> None:
        """A credential seen for the first time was good: its caller pays, and the address gets its token back."""
        if exchange.decision is not None:
            await self._limiter.refund(exchange.rate_key, exchange.decision)
        self._count(exchange)
        await self.limit(exchange)


@lru_cache(maxsize=256)
def _over(limit: int, window: float) -> str:
    return f"over {limit} requests in {window:g} s"
