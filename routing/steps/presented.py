"""Steps 2 and 3 of requests that prove who sends them by a client certificate or a signature.

An API key or a token counts before them, unless the route requires the one or the other. For routes that accept neither
certificates nor signatures, these steps are not in the list of steps.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from resilience.memo import TwoGenerationMemo
from resilience.outage import StoreUnavailable
from routing.authentication.certificates.callers import CertificateCallers
from routing.authentication.certificates.errors import InvalidCertificate, missing_certificate
from routing.authentication.signatures.components import SignedRequest
from routing.authentication.signatures.content_digest import ContentDigest
from routing.authentication.signatures.errors import InvalidSignature, MissingSignature, UnknownSigner
from routing.authentication.signatures.failures import Failures
from routing.authentication.signatures.keys import SigningKey
from routing.authentication.signatures.nonces import Nonces
from routing.authentication.signatures.policy import DEFAULT_POLICY, SignaturePolicy
from routing.authentication.signatures.signature_fields import INPUT, SIGNATURE
from routing.authentication.signatures.verification import Proof, verify
from routing.caller import Caller
from routing.errors import AuthenticationUnavailable, QuotaExceeded, RateLimited, Unauthenticated
from routing.exchange import Exchange, PresentedCredential
from routing.http import Request, first_values
from routing.messages.validation import client_prefix
from routing.router.live import LiveConfiguration
from routing.router.policy import Auth, RoutePolicy
from routing.router.resolution import host
from routing.steps.gatekeeper import Gatekeeper

_SIGNATURE_FIELDS: Final = frozenset({INPUT, SIGNATURE})
_INPUT_FIELD: Final = frozenset({INPUT})
_EXCLUSIVE: Final = frozenset({Auth.CERTIFICATE, Auth.SIGNATURE})
REMEMBERED: Final = 4_096
GRACE_SECONDS: Final = 1.0
"""How much longer a nonce is remembered than its signature is valid: workers' clocks differ."""


Check = Callable[[Exchange], Awaitable[None] | None]
"""A step that does not respond."""


class PresentedCredentials:
    """`timer` is monotonic seconds."""

    def __init__(
        self, gatekeeper: Gatekeeper, live: LiveConfiguration, nonces: Nonces, timer: Callable[[], float]
    ) -> None:
        self._gatekeeper = gatekeeper
        self._live = live
        self._nonces = nonces
        self._timer = timer
        self._certificates = gatekeeper.certificates
        self._callers: Final = CertificateCallers()
        self._signers: Final[TwoGenerationMemo[SigningKey, Caller]] = TwoGenerationMemo(REMEMBERED)
        self._consumers = live.keys.consumers
        self._failures: Final = Failures()

    def steps(self, auth: Auth) -> tuple[Check, Check]:
        """Steps 2 and 3 where this is required: the gatekeeper's own if they cannot be anything else."""
        is_known = bool(self._certificates.fields) or bool(self._live.table.signing_keys)
        accepts = auth in _EXCLUSIVE or is_known
        if not accepts:
            return self._gatekeeper.limit, self._gatekeeper.identify
        return self.limit, self._identify_and_drop if self._certificates.fields else self.identify

    def limit(self, exchange: Exchange) -> Awaitable[None] | None:
        """Step 2, after the caller has been determined where that needs no I/O. Raises RateLimited.

        A credential that is not accepted is an error of step 3, so that it counts towards the limit of its address.
        """
        if exchange.caller is None and exchange.resolution.auth is not Auth.NONE:
            try:
                self._present(exchange)
            except Unauthenticated as error:
                exchange.presented = PresentedCredential(error=error)
        return self._gatekeeper.limit(exchange)

    def identify(self, exchange: Exchange) -> Awaitable[None] | None:
        """Step 3. Raises Unauthenticated, or AuthenticationUnavailable if it cannot be known whether a nonce is new."""
        presented = exchange.presented
        if presented is None:
            return self._gatekeeper.identify(exchange)
        if presented.error is not None:
            raise presented.error
        if exchange.caller is not None and exchange.step_log is not None:
            exchange.mark("authentication", exchange.caller.id, self._timer())
        return self._claim(exchange, presented) if presented.replay_id else None

    def returning_nonce(self, step: Check) -> Check:
        """The step of the plan's limits: a request that one of them refuses may be sent again as it is, as after
        step 2.
        """
        if not self._live.table.signing_keys:
            return step

        def run(exchange: Exchange) -> Awaitable[None] | None:
            presented = exchange.presented
            if presented is None or not presented.replay_id:
                return step(exchange)
            return self._run_returning(step, exchange, presented.replay_id)

        return run

    async def _run_returning(self, step: Check, exchange: Exchange, replay_id: str) -> None:
        try:
            if (waiting := step(exchange)) is not None:
                await waiting
        except (RateLimited, QuotaExceeded):
            with suppress(StoreUnavailable):
                await self._nonces.release(replay_id)
            raise

    def _identify_and_drop(self, exchange: Exchange) -> Awaitable[None] | None:
        """The same, then drop the fields in which proxies forward certificates: a backend must not take a client's for
        the gateway's, and no response may depend on them.
        """
        waiting = self.identify(exchange)
        if waiting is not None:
            return self._drop_after(exchange, waiting)
        self._drop(exchange.request)
        return None

    async def _drop_after(self, exchange: Exchange, waiting: Awaitable[None]) -> None:
        await waiting
        self._drop(exchange.request)

    def _drop(self, request: Request) -> None:
        """Underscores count as hyphens, as for many backends."""
        own = self._certificates.fields
        kept = [field for field in request.headers if field[0].replace(b"_", b"-") not in own]
        if len(kept) < len(request.headers):
            request.headers, request.fields = kept, first_values(kept)

    def _present(self, exchange: Exchange) -> None:
        """Raises Unauthenticated."""
        request, state, auth = exchange.request, exchange.resolution.credential_state, exchange.resolution.auth
        if auth not in _EXCLUSIVE and (state.credential is not None or state.parse_error is not None):
            return
        if auth is Auth.SIGNATURE:
            if _SIGNATURE_FIELDS.isdisjoint(request.fields):
                raise MissingSignature(_policy(exchange), has_content=request.body is not None)
            self._accept_signature(exchange)
        elif auth is Auth.CERTIFICATE or not self._is_signed(request, auth):
            self._accept_certificate(exchange)
        else:
            self._accept_either(exchange, auth)

    def _is_signed(self, request: Request, auth: Auth) -> bool:
        """Without any key, signatures are the backend's. So is `Signature` alone, which other schemes have, where no
        credential is required.
        """
        expected = _SIGNATURE_FIELDS if auth is Auth.REQUIRED else _INPUT_FIELD
        return bool(self._live.table.signing_keys) and not expected.isdisjoint(request.fields)

    def _accept_either(self, exchange: Exchange, auth: Auth) -> None:
        """A signature, or the certificate if it is of nobody here: browsers, agents and proxies sign for all who know
        them, and their signature is then the backend's. Raises Unauthenticated.
        """
        try:
            self._accept_signature(exchange)
        except UnknownSigner:
            self._accept_certificate(exchange)
            if exchange.caller is None and auth is Auth.REQUIRED:
                raise

    def _accept_signature(self, exchange: Exchange) -> None:
        """Raises InvalidSignature. The fields are the gateway's: neither backends nor cache keys see them."""
        request, policy = exchange.request, _policy(exchange)
        signed = SignedRequest(
            request.method,
            request.scheme,
            host(request),
            request.path,
            request.query if request.query or request.has_empty_query else None,
            request.headers,
        )
        proof = self._verify(exchange, signed, policy)
        exchange.caller = self._signer(proof)
        until = proof.until + GRACE_SECONDS
        exchange.presented = PresentedCredential(proof.key, replay_id=proof.replay_id, until=until)
        if proof.covers_content:
            _guard_content(request)
        request.headers = [field for field in request.headers if field[0] not in _SIGNATURE_FIELDS]
        request.fields = first_values(request.headers)

    def _verify(self, exchange: Exchange, signed: SignedRequest, policy: SignaturePolicy) -> Proof:
        """Raises InvalidSignature, without looking at the signature if its address has sent too many invalid ones."""
        address, now = client_prefix(exchange.request.client), exchange.received_at
        if self._failures.are_too_many(address, now):
            raise InvalidSignature("too many signatures from this address were invalid: wait a minute")
        keys, has_content = self._live.table.signing_keys, exchange.request.body is not None
        try:
            return verify(signed, keys, policy, has_content=has_content, now=now)
        except UnknownSigner:  # of which nothing was verified
            raise
        except InvalidSignature:
            self._failures.add(address, now)
            raise

    def _signer(self, proof: Proof) -> Caller:
        """The same object for the same key each time. Raises InvalidSignature."""
        consumers, key = self._live.keys.consumers, proof.key
        if consumers is not self._consumers:
            self._consumers = consumers
            self._signers.clear()
        caller = self._signers.get(key)
        if caller is None:
            record = consumers.find(key.consumer)
            if record is None or not record.enabled:
                raise InvalidSignature("the signature's consumer is disabled")
            caller = key.caller(record, consumers)
            self._signers.put(key, caller)
        return caller

    def _accept_certificate(self, exchange: Exchange) -> None:
        """Raises InvalidCertificate. A certificate that is not accepted is ignored where none is required: clients send
        it with the connection, not with the request.
        """
        auth = exchange.resolution.auth
        try:
            found = self._certificates.find(exchange.request)
            if found is not None:
                exchange.caller = self._callers.caller(found, self._live.keys.consumers)
                exchange.presented = PresentedCredential(found)
        except InvalidCertificate:
            if auth is not Auth.OPTIONAL:
                raise
        if exchange.caller is None and auth is Auth.CERTIFICATE:
            raise missing_certificate()

    async def _claim(self, exchange: Exchange, presented: PresentedCredential) -> None:
        """Let the nonce be used this once. After step 2: a request over a limit may be sent again."""
        try:
            is_new = await self._nonces.claim(presented.replay_id, presented.until - exchange.received_at)
        except StoreUnavailable:
            message = "signatures cannot be checked for repetition at the moment"
            raise AuthenticationUnavailable(message, retry_after=1.0) from None
        if not is_new:
            raise InvalidSignature("the signature's nonce has been used before")


def _policy(exchange: Exchange) -> SignaturePolicy:
    match = exchange.resolution.match
    policy: RoutePolicy | None = match.policy if match is not None else None
    return policy.signature if policy is not None and policy.signature is not None else DEFAULT_POLICY


def _guard_content(request: Request) -> None:
    """Compare the content with its digest: now if there is none, else while it is read. Raises InvalidSignature."""
    digest = ContentDigest.of(request.headers)
    if request.body is None:
        digest.check()
    else:
        request.body = digest.verified(request.body)
