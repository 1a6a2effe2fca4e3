"""The claims of a Firebase ID token: checks before the signature is verified, and the caller they name. No I/O.

`precheck` can only reject. It avoids a thread and a signature check for tokens that cannot be valid
(https://firebase.google.com/docs/auth/admin/verify-id-tokens lists the requirements).
"""

from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from routing.authentication.token_parts import split
from routing.caller import Caller, TokenIdentity, firebase_id
from routing.errors import InvalidToken

ISSUER: Final = "https://securetoken.google.com/"
MAX_UID_LENGTH: Final = 128
MAX_EMAIL_LENGTH: Final = 255
CLOCK_SKEW_SECONDS: Final = 5.0
"""How far the clock may be behind the issuer's. A token is never accepted after its expiry."""


class _Header(msgspec.Struct):
    alg: str
    kid: str = ""


class _Claims(msgspec.Struct):
    aud: str
    iss: str
    sub: str
    exp: float
    iat: float
    auth_time: float = 0.0


_header_decoder: Final = msgspec.json.Decoder(_Header)
_claims_decoder: Final = msgspec.json.Decoder(_Claims)


def precheck(token: str, project: str, now: float, *, signed: bool = True) -> str:
    """The id of the key that signed the token. Raises InvalidToken if the token cannot be valid.

    `signed` is False for an emulator, whose tokens are not signed and may name no key.
    """
    header, claims, signature = _parse(token)
    if signed and (header.alg != "RS256" or not header.kid or not signature):
        _reject()
    if claims.aud != project or claims.iss != ISSUER + project or not _is_valid_uid(claims.sub):
        _reject()
    if claims.exp <= now:
        raise InvalidToken("the token has expired")
    if max(claims.iat, claims.auth_time) > now + CLOCK_SKEW_SECONDS:
        _reject()
    return header.kid


def caller_from_claims(claims: Mapping[str, object]) -> Caller:
    """The caller named by verified claims. Malformed scopes count as no scopes; without the claim they are None."""
    uid, exp = claims.get("sub"), claims.get("exp")
    if not isinstance(uid, str) or not _is_valid_uid(uid) or not isinstance(exp, int | float):
        _reject()
    scopes = _scopes(claims["scopes"]) if "scopes" in claims else None
    tenant = _tenant(claims.get("firebase"))
    email = _email(claims)
    identity = None if email is None else TokenIdentity(str(claims.get("iss", "")), uid, tenant, email)
    return Caller(firebase_id(uid, tenant), tenant, scopes, float(exp), identity=identity)


def _email(claims: Mapping[str, object]) -> str | None:
    email = claims.get("email")
    is_usable = isinstance(email, str) and len(email) <= MAX_EMAIL_LENGTH and claims.get("email_verified") is True
    return email if isinstance(email, str) and is_usable else None


def _parse(token: str) -> tuple[_Header, _Claims, bytes]:
    try:
        parts = split(token)
        return _header_decoder.decode(parts.header), _claims_decoder.decode(parts.claims), parts.signature
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        _reject()


def _is_valid_uid(text: str) -> bool:
    """It must fit into a log line and a header field: no control characters, no leading or trailing space."""
    return 0 < len(text) <= MAX_UID_LENGTH and text.isprintable() and text.strip() == text


def _tenant(firebase: object) -> str | None:
    """Part of the caller's id, and so limited like a uid."""
    tenant = firebase.get("tenant") if isinstance(firebase, dict) else None
    if not isinstance(tenant, str) or not tenant:
        return None
    return tenant if len(tenant) <= MAX_UID_LENGTH else _reject()


def _scopes(claim: object) -> frozenset[str]:
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list) and all(isinstance(scope, str) for scope in claim):
        return frozenset(claim)
    return frozenset()


def _reject() -> NoReturn:
    raise InvalidToken("the token is not valid") from None
