"""Step 3: reads the credential of a request and identifies its caller."""

import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from routing.authentication.api_keys import ApiKeys, contains_key, looks_like_key
from routing.authentication.certificates.revocation import CertificateRevocations
from routing.authentication.revocations import NONE, Revocations
from routing.authentication.token_consumers import TokenConsumers
from routing.caller import Caller
from routing.errors import Unauthenticated
from routing.http import Headers

CREDENTIAL_HEADERS: Final = frozenset({b"authorization", b"x-api-key"})
"""Fields that carry a credential. They are not forwarded to backends unless a route's policy says so."""
MAX_CREDENTIAL_BYTES: Final = 16_384
"""A longer credential is rejected without parsing."""
_BEARER: Final = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)[ \t]*")
_TOKEN: Final = re.compile(rb"(?i:token) +([A-Za-z0-9._~+/-]+=*)[ \t]*")
"""The scheme in which clients of GitHub send what they are given as its token: here an API key."""


class Credential(msgspec.Struct, frozen=True):
    """An unverified credential: an API key if it has the form of one, else a token. Hidden in its repr."""

    text: str
    is_key: bool

    def __repr__(self) -> str:
        return f"Credential(is_key={self.is_key})"


class TokenVerifier(Protocol):
    """Verifies tokens, as `IssuerTokens` does."""

    def cached(self, token: str, now: float) -> Caller | None: ...

    async def verify(self, token: str, now: float) -> Caller: ...


class Authenticator:
    """Identifies callers. `keys` returns the current table, so that revoking a key takes effect at once.

    `revoked_certificates` are those of clients, which PresentedCredentials identifies.
    """

    def __init__(
        self,
        keys: Callable[[], ApiKeys],
        tokens: TokenVerifier | None = None,
        revoked_certificates: CertificateRevocations | None = None,
    ) -> None:
        self._keys: Final = keys
        self._tokens = tokens
        self._revocations = NONE
        self._consumers: Final = TokenConsumers()
        self.revoked_certificates = revoked_certificates or CertificateRevocations()

    def verify_with(self, tokens: TokenVerifier | None, revocations: Revocations = NONE) -> None:
        """Verify tokens so from now on. Without a verifier, no token is accepted."""
        self._tokens = tokens
        self._revocations = revocations

    def is_revoked(self, caller: Caller, now: float) -> bool:
        """Whether the token of a caller that was identified before is refused now."""
        return self._revocations.revoke(caller, now)

    def try_identify(self, credential: Credential, now: float) -> Caller | None:
        """The caller, if it can be determined without I/O, otherwise None. `now` is Unix time."""
        if credential.is_key:
            return self._keys().find(credential.text, now)
        caller = None if self._tokens is None else self._tokens.cached(credential.text, now)
        return None if caller is None else self._consumers.subscribed(caller, self._keys().consumers)

    def check(self, credential: Credential, client: str, method: str) -> None:
        """Raise Forbidden if the credential is a key that may not be used from this address or with this method."""
        if credential.is_key and (keys := self._keys()).has_special:
            rules = keys.rules(credential.text)
            if rules is not None:
                rules.check(client, method)

    def retired_digest(self, credential: Credential) -> str | None:
        """The digest of a key's secret that has been replaced and is still accepted, else None."""
        return self._keys().retired_digest(credential.text) if credential.is_key else None

    def is_special(self, credential: Credential) -> bool:
        """Whether the credential is a key with rules of its own, or whose secret has been replaced."""
        keys = self._keys()
        if not credential.is_key or not keys.has_special:
            return False
        return keys.rules(credential.text) is not None or keys.retired_digest(credential.text) is not None

    async def identify(self, credential: Credential, now: float) -> Caller:
        """The caller, where only the credential is known. Raises Unauthenticated, also for a token that is bound to a
        client certificate, or AuthenticationUnavailable if verification is not possible now.
        """
        caller = self.try_identify(credential, now) or await self.verify(credential, now)
        if caller.confirmation is not None:
            raise Unauthenticated("a token that is bound to a client certificate cannot be used here")
        return caller

    def can_verify(self, credential: Credential) -> bool:
        """Whether `verify` could succeed for a credential that `try_identify` does not know."""
        return self._tokens is not None and not credential.is_key

    def invalid(self, credential: Credential) -> Unauthenticated:
        """The error of a credential that is not accepted."""
        return Unauthenticated(self._keys().fault(credential.text) if credential.is_key else "the token is not valid")

    async def verify(self, credential: Credential, now: float) -> Caller:
        """Like `identify`, for a credential that `try_identify` does not know."""
        if self._tokens is None or credential.is_key:
            raise self.invalid(credential)
        caller = await self._tokens.verify(credential.text, now)
        return self._consumers.subscribed(caller, self._keys().consumers)


def missing_credential() -> Unauthenticated:
    return Unauthenticated("send an API key or a token")


def read_credential(headers: Headers, *, is_separate: bool = False) -> Credential | None:
    """The request's credential, or None without one. Raises Unauthenticated if it is malformed or ambiguous.

    `is_separate`: X-API-Key is for the gateway and Authorization for the backend, and not read.
    """
    authorization = api_key = None
    for name, value in headers:
        if name == b"authorization":
            authorization = _single(authorization, name, value)
        elif name == b"x-api-key":
            api_key = _single(api_key, name, value)
    bearer = None if authorization is None or is_separate else _from_authorization(authorization)
    if api_key is None:
        return bearer
    key = _from_api_key(api_key)
    if bearer is not None and bearer != key:
        raise Unauthenticated("Authorization and X-API-Key contain different credentials")
    return key


def carries_key(headers: Headers) -> bool:
    """Whether Authorization contains an API key, which is for this gateway only."""
    return any(name == b"authorization" and contains_key(value) for name, value in headers)


def parse_credential(text: str) -> Credential:
    """The credential in a plain text, such as a WebSocket message."""
    return Credential(text, looks_like_key(text))


def _single(earlier: bytes | None, name: bytes, value: bytes) -> bytes:
    if earlier is not None:
        raise Unauthenticated(f"more than one {name.decode()} field")
    if len(value) > MAX_CREDENTIAL_BYTES:
        raise Unauthenticated("the credential is too long")
    return value


def _from_authorization(value: bytes) -> Credential:
    match = _BEARER.fullmatch(value)
    if match is not None:
        return parse_credential(match[1].decode())
    match = _TOKEN.fullmatch(value)
    if match is None or not looks_like_key(match[1].decode()):
        raise Unauthenticated("Authorization must be 'Bearer' followed by one token")
    return Credential(match[1].decode(), is_key=True)


def _from_api_key(value: bytes) -> Credential:
    credential = parse_credential(value.strip(b" \t").decode("ascii", "replace"))
    if not credential.is_key:
        raise Unauthenticated("X-API-Key is not an API key")
    return credential
