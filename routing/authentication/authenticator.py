"""Step 3: which credential a request bears, and whose it is."""

import re
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from routing.authentication.api_keys import ApiKeys, looks_like_key
from routing.caller import Caller
from routing.errors import Unauthenticated
from routing.http import Headers

CREDENTIAL_HEADERS: Final = frozenset({b"authorization", b"x-api-key"})
"""Fields that bear a credential: they end at the gateway unless a route forwards them."""
MAX_CREDENTIAL_BYTES: Final = 16_384
"""Bytes of a credential; a longer one is refused unread."""
_BEARER: Final = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)[ \t]*")


class Credential(msgspec.Struct, frozen=True):
    """What a request bears, not yet verified: an API key by its form, else a token. Never shown."""

    text: str
    is_key: bool

    def __repr__(self) -> str:
        return f"Credential(is_key={self.is_key})"


class TokenVerifier(Protocol):
    """Tells whose a token is; `FirebaseVerifier` is one."""

    def cached(self, token: str, now: float) -> Caller | None: ...

    async def verify(self, token: str, now: float) -> Caller: ...


class Authenticator:
    """Turns credentials into callers. `keys` gives the table of this moment, so that a revoked key ends at once."""

    def __init__(self, keys: Callable[[], ApiKeys], tokens: TokenVerifier | None = None) -> None:
        self._keys: Final = keys
        self._tokens: Final = tokens

    def try_identify(self, credential: Credential, now: float) -> Caller | None:
        """The caller, when no I/O is needed to tell: for the limiter. `now` is Unix time."""
        if credential.is_key:
            return self._keys().find(credential.text, now)
        return None if self._tokens is None else self._tokens.cached(credential.text, now)

    async def identify(self, credential: Credential, now: float) -> Caller:
        """The caller. Raises Unauthenticated, or AuthenticationUnavailable when nobody can tell now."""
        return self.try_identify(credential, now) or await self.verify(credential, now)

    def can_verify(self, credential: Credential) -> bool:
        """Whether there is anybody to ask about a credential that is not `known`."""
        return self._tokens is not None and not credential.is_key

    async def verify(self, credential: Credential, now: float) -> Caller:
        """As `identify`, for a credential that is not `known`."""
        if self._tokens is None or credential.is_key:
            raise invalid_credential(credential)
        return await self._tokens.verify(credential.text, now)


def invalid_credential(credential: Credential) -> Unauthenticated:
    """What is said of a credential that is nobody's."""
    return Unauthenticated("the API key is not valid" if credential.is_key else "the token is not valid")


def read_credential(headers: Headers) -> Credential | None:
    """The request's credential, None when it bears none. Raises Unauthenticated when it cannot be read as one."""
    bearer = key = None
    for name, value in headers:
        if name == b"authorization":
            bearer = _single(bearer, name, value)
        elif name == b"x-api-key":
            key = _single(key, name, value)
    given = None if bearer is None else _of_authorization(bearer)
    if key is None:
        return given
    named = _of_api_key(key)
    if given is not None and given != named:
        raise Unauthenticated("Authorization and X-API-Key are different credentials")
    return named


def parse_credential(text: str) -> Credential:
    """The credential in a bare text, as a WebSocket's subprotocol brings it."""
    return Credential(text, looks_like_key(text))


def _single(before: bytes | None, name: bytes, value: bytes) -> bytes:
    if before is not None:
        raise Unauthenticated(f"more than one {name.decode()} field")
    if len(value) > MAX_CREDENTIAL_BYTES:
        raise Unauthenticated("the credential is too long")
    return value


def _of_authorization(value: bytes) -> Credential:
    form = _BEARER.fullmatch(value)
    if form is None:
        raise Unauthenticated("Authorization must be 'Bearer' followed by one token")
    return parse_credential(form[1].decode())


def _of_api_key(value: bytes) -> Credential:
    found = parse_credential(value.strip(b" \t").decode("ascii", "replace"))
    if not found.is_key:
        raise Unauthenticated("X-API-Key is not an API key")
    return found
