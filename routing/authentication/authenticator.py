"""Step 3: reads the credential of a request and identifies its caller."""

import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from routing.authentication.api_keys import ApiKeys, contains_key, looks_like_key
from routing.caller import Caller
from routing.errors import Unauthenticated
from routing.http import Headers

CREDENTIAL_HEADERS: Final = frozenset({b"authorization", b"x-api-key"})
"""Fields that carry a credential. They are not forwarded to backends unless a route's policy says so."""
MAX_CREDENTIAL_BYTES: Final = 16_384
"""A longer credential is rejected without parsing."""
_BEARER: Final = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)[ \t]*")


class Credential(msgspec.Struct, frozen=True):
    """An unverified credential: an API key if it has the form of one, else a token. Hidden in its repr."""

    text: str
    is_key: bool

    def __repr__(self) -> str:
        return f"Credential(is_key={self.is_key})"


class TokenVerifier(Protocol):
    """Verifies tokens, as `FirebaseVerifier` does."""

    def cached(self, token: str, now: float) -> Caller | None: ...

    async def verify(self, token: str, now: float) -> Caller: ...


class Authenticator:
    """Identifies callers. `keys` returns the current table, so that revoking a key takes effect at once."""

    def __init__(self, keys: Callable[[], ApiKeys], tokens: TokenVerifier | None = None) -> None:
        self._keys: Final = keys
        self._tokens: Final = tokens

    def try_identify(self, credential: Credential, now: float) -> Caller | None:
        """The caller, if it can be determined without I/O, otherwise None. `now` is Unix time."""
        if credential.is_key:
            return self._keys().find(credential.text, now)
        return None if self._tokens is None else self._tokens.cached(credential.text, now)

    async def identify(self, credential: Credential, now: float) -> Caller:
        """The caller. Raises Unauthenticated, or AuthenticationUnavailable if verification is not possible now."""
        return self.try_identify(credential, now) or await self.verify(credential, now)

    def can_verify(self, credential: Credential) -> bool:
        """Whether `verify` could succeed for a credential that `try_identify` does not know."""
        return self._tokens is not None and not credential.is_key

    async def verify(self, credential: Credential, now: float) -> Caller:
        """Like `identify`, for a credential that `try_identify` does not know."""
        if self._tokens is None or credential.is_key:
            raise invalid_credential(credential)
        return await self._tokens.verify(credential.text, now)


def missing_credential() -> Unauthenticated:
    return Unauthenticated("send an API key or a Firebase ID token")


def invalid_credential(credential: Credential) -> Unauthenticated:
    return Unauthenticated("the API key is not valid" if credential.is_key else "the token is not valid")


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
    if match is None:
        raise Unauthenticated("Authorization must be 'Bearer' followed by one token")
    return parse_credential(match[1].decode())


def _from_api_key(value: bytes) -> Credential:
    credential = parse_credential(value.strip(b" \t").decode("ascii", "replace"))
    if not credential.is_key:
        raise Unauthenticated("X-API-Key is not an API key")
    return credential
