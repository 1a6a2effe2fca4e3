"""Tokens of Pub/Sub pushes: OpenID Connect tokens that Google signs (cloud.google.com "Authentication for push
subscriptions"). The signing keys are fetched in the background, as those of Firebase's ID tokens.
"""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from routing.authentication import key_endpoint
from routing.authentication.id_token import CLOCK_SKEW_SECONDS
from routing.authentication.signing_keys import RETRY_SECONDS, SigningKeys
from routing.authentication.token_parts import MAX_TOKEN_LENGTH
from routing.errors import AuthenticationUnavailable
from routing.webhooks.policy import PubSubForm
from routing.webhooks.verification import Refused, SignedRequest

ISSUERS: Final = ("https://accounts.google.com", "accounts.google.com")
MAX_WAITING: Final = 256
"""The most deliveries that wait for keys in one worker."""
_SCHEME: Final = b"bearer "
_INVALID: Final = Refused("bad_signature", "the token is not valid")


class PushTokens:
    """Verifies the bearer tokens of pushes. `clock` is Unix time."""

    def __init__(
        self, clock: Callable[[], float], fetch: Callable[[str], key_endpoint.FetchedKeys] = key_endpoint.fetch
    ) -> None:
        self._clock = clock
        self._fetch = fetch
        self._keys: dict[str, SigningKeys] = {}
        self._waiting = 0

    async def verify(self, form: PubSubForm, request: SignedRequest) -> None:
        """Raises Refused, or AuthenticationUnavailable if the keys cannot be had now."""
        token = _bearer(request.field("authorization"))
        kid = _key_id(token)
        certificate = await self._certificate(form.keys_url, kid)
        check_claims(_claims(token, certificate, form.audience), form, self._clock())

    async def _certificate(self, url: str, kid: str) -> str:
        keys = self._keys.get(url)
        if keys is None:
            keys = self._keys[url] = SigningKeys(lambda _cause: self._fetch(url), self._clock, lambda _: None)
        wait = keys.prepare(kid, self._clock())
        if wait is not None:
            if self._waiting >= MAX_WAITING:
                raise _unavailable()
            self._waiting += 1
            try:
                await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(wait.fetch)), wait.seconds)
            except TimeoutError:
                pass
            finally:
                self._waiting -= 1
        if keys.keys is None:
            raise _unavailable()
        if not keys.contains(kid):
            raise _INVALID.with_traceback(None)
        return str(keys.keys.fetched.certificates[kid])


def check_claims(claims: Mapping[str, object], form: PubSubForm, now: float) -> None:
    """Raise Refused unless verified claims are those of this subscription's pushes, and hold now."""
    expires, issued = claims.get("exp"), claims.get("iat")
    if not isinstance(expires, int | float) or not isinstance(issued, int | float):
        raise _INVALID.with_traceback(None)
    if expires <= now or issued > now + CLOCK_SKEW_SECONDS:
        raise Refused("bad_time", "the token has expired, or is not valid yet")
    email = str(claims.get("email", ""))
    is_sender = hmac.compare_digest(email.encode(), form.email.encode()) and claims.get("email_verified") is True
    if not is_sender or claims.get("iss") not in ISSUERS or claims.get("aud") != form.audience:
        raise Refused("bad_claims", "the token is not one of this subscription")


def _claims(token: str, certificate: str, audience: str) -> Mapping[str, object]:
    """The claims of a token with a valid signature. `check_claims` checks the times, by the gateway's own clock."""
    try:
        claims: Mapping[str, object] = jwt.decode(
            token,
            _public_key(certificate),
            algorithms=["RS256"],
            audience=audience,
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
        )
    except jwt.InvalidAudienceError:
        raise Refused("bad_claims", "the token is not one of this subscription") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _INVALID.with_traceback(None) from None
    return claims


def _bearer(value: bytes) -> str:
    token = value[len(_SCHEME) :].strip()
    if not value[: len(_SCHEME)].lower() == _SCHEME or not token.isascii() or len(token) > MAX_TOKEN_LENGTH:
        raise Refused("malformed_field", "the field authorization has no bearer token")
    return token.decode()


def _key_id(token: str) -> str:
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _INVALID.with_traceback(None) from None
    kid = header.get("kid")
    if header.get("alg") != "RS256" or not isinstance(kid, str) or not kid:
        raise _INVALID.with_traceback(None)
    return kid


@lru_cache(maxsize=16)
def _public_key(certificate: str) -> RSAPublicKey:
    key = x509.load_pem_x509_certificate(certificate.encode()).public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("not a key for RS256")
    return key


def _unavailable() -> AuthenticationUnavailable:
    return AuthenticationUnavailable("the token cannot be verified at the moment", retry_after=RETRY_SECONDS)
