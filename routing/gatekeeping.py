"""Steps 2 and 3: whose request this is, and whether it is within its caller's limit."""

from collections.abc import Callable

from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.policy import RatePolicy
from routing import admission
from routing.authentication.authenticator import Authenticator, credential
from routing.errors import RateLimited, Unauthenticated
from routing.exchange import Exchange
from routing.policy import Auth


class Gatekeeper:
    """`rate` is the gateway's own, for services that set none; `timer` is monotonic seconds."""

    def __init__(
        self, limiter: Limiter, authenticator: Authenticator, rate: RatePolicy, timer: Callable[[], float]
    ) -> None:
        self._limiter = limiter
        self._authenticator = authenticator
        self._rate = rate
        self._timer = timer

    async def limit(self, exchange: Exchange) -> None:
        """By caller where the credential is already known, else by address: junk tokens cost their sender.

        Raises RateLimited.
        """
        try:
            exchange.credential = credential(exchange.request.headers)
        except Unauthenticated as error:
            exchange.unread = error
        if exchange.credential and exchange.caller is None and _asked(exchange) is not Auth.NONE:
            exchange.caller = self._authenticator.known(exchange.credential, exchange.at)
        await self._take(exchange)
        exchange.mark("rate limit", exchange.rate_key, self._timer())

    async def identify(self, exchange: Exchange) -> None:
        """The caller, where one is asked for. Raises Unauthenticated, AuthenticationUnavailable or RateLimited."""
        auth = _asked(exchange)
        if exchange.caller is not None or auth is Auth.NONE:
            return
        if exchange.unread:
            raise exchange.unread
        if exchange.credential is None:
            if auth is Auth.REQUIRED:
                raise Unauthenticated("send an API key or a Firebase ID token")
            return
        exchange.caller = await self._authenticator.identify(exchange.credential, exchange.at)
        exchange.mark("authentication", exchange.caller.id, self._timer())
        await self._recharge(exchange)

    async def _take(self, exchange: Exchange) -> None:
        """Count the request against its caller."""
        own, name = exchange.match.policy.rate_limit if exchange.match else None, exchange.service
        if exchange.own and exchange.caller:
            own, name = exchange.own.rate, exchange.own.name
        policy = own or self._rate
        whose = exchange.caller.id if exchange.caller else admission.limited_address(exchange.request.client)
        key = f"{name if own else ''}|{policy}|{whose}"
        decision = self._limiter.take_now(key, policy) or await self._limiter.take(key, policy)
        exchange.rate, exchange.rate_key, exchange.decision = policy, key, decision
        if not decision.allowed:
            raise RateLimited(
                f"over {policy.limit} requests in {policy.window:g} s",
                service=(own and exchange.service) or None,
                retry_after=decision.reset,
            )

    async def _recharge(self, exchange: Exchange) -> None:
        """A credential seen for the first time was good: its caller pays, and the address gets its token back."""
        rate, decision = exchange.rate, exchange.decision
        if rate is not None and decision is not None:
            await self._limiter.refund(exchange.rate_key, rate, decision)
        await self._take(exchange)


def _asked(exchange: Exchange) -> Auth:
    """What is asked of the caller; where no service is found, a credential, so that names cannot be probed."""
    return exchange.match.policy.auth if exchange.match else Auth.REQUIRED
