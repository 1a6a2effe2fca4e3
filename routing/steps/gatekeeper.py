"""Steps 2 to 4: the rate limit, authentication, and whether the caller may use the route."""

import math
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from hmac import compare_digest

import msgspec

from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.policy import RatePolicy
from resilience.ratelimit.window import Decision
from routing.authentication.authenticator import Authenticator, Credential, missing_credential
from routing.authentication.certificates.client_certificates import ClientCertificates
from routing.authentication.certificates.errors import InvalidCertificate
from routing.authentication.key_usage import KeyUsage
from routing.caller import DEBUG, Caller
from routing.errors import (
    BadRequest,
    BodyTooLarge,
    GatewayError,
    InvalidToken,
    MethodNotAllowed,
    RateLimited,
    UnknownService,
)
from routing.exchange import Exchange
from routing.gateway_rules import GatewayRules
from routing.http import Response
from routing.messages.validation import client_prefix
from routing.networks import permits
from routing.router.access import may_use
from routing.router.live import LiveConfiguration
from routing.router.policy import Auth
from routing.router.resolution import REVERIFY_SECONDS, CredentialState, Quota
from routing.router.table import Match
from routing.steps.network import check_address, check_plan_address


class Gatekeeper:
    """`timer` is monotonic seconds, `clock` Unix seconds."""

    def __init__(
        self,
        rules: GatewayRules,
        live: LiveConfiguration,
        limiter: Limiter,
        authenticator: Authenticator,
        timer: Callable[[], float],
        *,
        clock: Callable[[], float] = time.time,
        key_usage: KeyUsage | None = None,
    ) -> None:
        self._live = live
        self._max_body_bytes = rules.max_body_bytes
        self._limiter = limiter
        self._authenticator = authenticator
        self._rate = rules.rate
        self._timer = timer
        self._key_usage = key_usage or KeyUsage(clock)
        self.certificates = ClientCertificates(rules.certificates, clock, authenticator.revoked_certificates)

    def guards(self, state: CredentialState) -> bool:
        """Whether requests with this credential take the step `guard`."""
        return state.credential is not None and self._authenticator.is_special(state.credential)

    def guard(self, exchange: Exchange) -> None:
        """Before step 2: what a key may be used for beside its scopes. Raises Forbidden.

        A request that is refused here counts towards no limit of the key's: somebody who has stolen it cannot use that
        up from elsewhere. Requests with a secret that was replaced are counted.
        """
        credential, request = exchange.credential, exchange.request
        if credential is None or exchange.resolution.auth is Auth.NONE:
            return
        self._authenticator.check(credential, request.client, request.method)
        retired = self._authenticator.retired_digest(credential)
        if retired is not None and self._authenticator.try_identify(credential, exchange.received_at) is not None:
            self._key_usage.used_retired(retired, request.client, exchange.used_part)

    def limit(self, exchange: Exchange) -> Awaitable[None] | None:
        """Step 2. Raises RateLimited.

        Counts by caller where the credential is already verified, else by client address, so that sending many bad
        credentials gains nothing.
        """
        resolution, state = exchange.resolution, exchange.resolution.credential_state
        if exchange.caller is None and state.credential is not None and resolution.auth is not Auth.NONE:
            trusted = exchange.received_at < state.verified_until
            exchange.caller = state.caller if trusted else self._known(exchange, state.credential)
        quota = self._count(exchange)
        decision = self._limiter.try_take(quota.key, quota.policy)
        if decision is None:
            return self._take(exchange)
        self._decide(exchange, decision)
        return None

    def identify(self, exchange: Exchange) -> Awaitable[None] | None:
        """Step 3. Raises Unauthenticated, AuthenticationUnavailable or RateLimited."""
        resolution, state = exchange.resolution, exchange.resolution.credential_state
        if exchange.caller is not None:
            return None
        if resolution.auth is Auth.NONE:
            if exchange.step_log is not None and exchange.step_log.shown:
                exchange.step_log.is_readable = self._may_debug(exchange, state.credential)
            return None
        if state.parse_error:
            raise state.parse_error.with_traceback(None)
        if state.credential is None:
            if resolution.auth is Auth.REQUIRED:
                raise missing_credential()
            return None
        if not self._authenticator.can_verify(state.credential):
            raise self._authenticator.invalid(state.credential)
        return self._verify(exchange, state.credential)

    def route(self, exchange: Exchange) -> None:
        """Step 4. Raises GatewayError if there is no route, this caller may not use it, or the body is too large."""
        denial, match = exchange.caller_slot.grant.denial, exchange.resolution.match
        if denial is not None:
            raise denial.with_traceback(None)
        if match is None:
            raise UnknownService("/api/v1/ lists the services; it is not one")
        exchange.match = match
        length = exchange.request.fields.get(b"content-length")
        if length is not None:
            self._check_length(exchange, length)
        if exchange.step_log is not None:
            exchange.mark("service router", f"{match.service.name}{match.pattern}", self._timer())

    def check_address(self, exchange: Exchange) -> None:
        """After step 4, where the route has a list of addresses. Raises AddressNotAllowed.

        After authentication, so that a response does not tell strangers which services there are.
        """
        refusal = "the service may not be called from this address"
        check_address(exchange, exchange.match.policy.ip, refusal, self._timer)

    def check_plan_address(self, exchange: Exchange) -> None:
        """After step 3 of the gateway's own endpoints, which have no step for plans. Raises AddressNotAllowed."""
        check_plan_address(exchange, self._timer)

    def index(self, exchange: Exchange) -> Response:
        """Step 4 of `GET /api/v1/`: the services this caller may use. Raises AddressNotAllowed or MethodNotAllowed."""
        self.check_plan_address(exchange)
        if exchange.request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed("the list of services is read only", allow=("GET", "HEAD"))
        caller = exchange.caller
        services = [
            {"name": service.name, "path": f"/api/v1/{service.name}/", "enabled": service.policy.enabled}
            for service in self._live.table.services.values()
            if caller is not None
            and may_use(caller, service, service.policy)
            and permits(service.policy.ip, exchange.request.client)
        ]
        body = msgspec.json.encode({"services": services})
        return Response(200, [(b"content-type", b"application/json"), (b"cache-control", b"private, no-store")], body)

    async def charge(self, exchange: Exchange) -> bool:
        """Count the request towards the rate limit of a service that it was not sent to, if that has its own."""
        if exchange.match.policy.rate_limit is None:
            return True
        quota = quota_of(exchange.match, self._rate, exchange.caller, exchange.request.client)
        decision = await self._limiter.take(quota.key, quota.policy)
        return bool(decision.granted)

    async def _take(self, exchange: Exchange) -> None:
        quota = exchange.quota
        self._decide(exchange, await self._limiter.take(quota.key, quota.policy))

    async def _verify(self, exchange: Exchange, credential: Credential) -> None:
        """Verify a credential seen for the first time. Its caller's limit is charged, its address's refunded."""
        caller = await self._authenticator.verify(credential, exchange.received_at)
        if not self._is_confirmed(exchange, caller):
            raise InvalidToken("the token is bound to a client certificate that the request does not have")
        exchange.caller = caller
        exchange.mark("authentication", exchange.caller.id, self._timer())
        if exchange.decision is not None:
            await self._limiter.refund(exchange.quota.key, exchange.decision)
        self._count(exchange)
        await self._take(exchange)

    def _may_debug(self, exchange: Exchange, credential: Credential | None) -> bool:
        """Whether a key that is not needed here may read the steps. It makes its owner no caller."""
        if credential is None or not credential.is_key:
            return False
        try:
            self._authenticator.check(credential, exchange.request.client, exchange.request.method)
        except GatewayError:
            return False
        caller = self._authenticator.try_identify(credential, exchange.received_at)
        return caller is not None and caller.has_scope(DEBUG)

    def _known(self, exchange: Exchange, credential: Credential) -> Caller | None:
        """The credential's caller, kept for the next requests. An unknown token is not: it may be verified soon.

        Nor is that of a token bound to a certificate, since each request has to show it.
        """
        now, state = exchange.received_at, exchange.resolution.credential_state
        caller = self._authenticator.try_identify(credential, now)
        if caller is not None and caller.confirmation is not None:
            return caller if self._is_confirmed(exchange, caller) else None
        if caller is not None or credential.is_key:
            expires = caller.expires if caller is not None else None
            state.caller = caller
            state.verified_until = min(now + REVERIFY_SECONDS, math.inf if expires is None else expires)
            if caller is not None:
                self._key_usage.used(caller.id, exchange.request.client, exchange.used_part)
        return caller

    def _is_confirmed(self, exchange: Exchange, caller: Caller) -> bool:
        """Whether the request has the certificate that the caller's token is bound to, if any (RFC 8705 section 3)."""
        if caller.confirmation is None:
            return True
        try:
            found = self.certificates.find(exchange.request)
        except InvalidCertificate:
            return False
        return found is not None and compare_digest(found.thumbprint, caller.confirmation)

    def _count(self, exchange: Exchange) -> Quota:
        """Find the limit that the request counts towards, and under which key."""
        slot = exchange.caller_slot = exchange.resolution.caller_slot(exchange.caller)
        grant, endpoint, caller = slot.grant, exchange.endpoint, exchange.caller
        if endpoint is not None and caller is not None:
            quota = _quota(endpoint.name, endpoint.rate, caller.id)
        elif caller is None or grant.quota is None:
            quota = quota_of(exchange.resolution.match, self._rate, caller, exchange.request.client)
            if caller is not None:
                grant.quota = quota
        else:
            quota = grant.quota
        exchange.quota = quota
        return quota

    def _check_length(self, exchange: Exchange, length: bytes) -> None:
        if not length.isdigit():
            raise BadRequest("Content-Length is not a number")
        if int(length) > self._max_body_bytes:
            raise BodyTooLarge(
                f"the request body is larger than {self._max_body_bytes} bytes", service=exchange.service
            )

    def _decide(self, exchange: Exchange, decision: Decision) -> None:
        exchange.decision = decision
        if exchange.step_log is not None:
            exchange.mark("rate limit", exchange.quota.key, self._timer())
        if not decision.granted:
            policy, match = exchange.quota.policy, exchange.resolution.match
            raise RateLimited(
                _over(policy.limit, policy.window, exchange.quota.name),
                service=exchange.service if match and match.policy.rate_limit else None,
                retry_after=decision.reset,
            )


def quota_of(match: Match | None, rate: RatePolicy, caller: Caller | None, client: str) -> Quota:
    """The service's own limit if it has one, else `rate`, counted by caller or by the client's address.

    A rate of the caller's key, consumer, plan or team replaces `rate`, which is for callers that have none.
    """
    own = match.policy.rate_limit if match else None
    first = None if own or caller is None or caller.subscription is None else caller.subscription.first_rate
    if first is not None and caller is not None:
        return Quota(first.policy, first.key, caller.id, first.name)
    policy = own or rate
    subject = caller.id if caller else client_prefix(client)
    return _quota(match.service.name if match and own else "", policy, subject)


def _quota(name: str, policy: RatePolicy, subject: str) -> Quota:
    return Quota(policy, f"{name}|{policy}|{subject}", subject)


@lru_cache(maxsize=256)
def _over(limit: int, window: float, name: str) -> str:
    owner = "" if name == "default" else f": the limit of the {name.partition('-')[0]}"
    return f"over {limit} requests in {window:g} s{owner}"
