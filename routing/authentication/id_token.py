"""What a Firebase ID token must look like, and whom a verified one names: pure rules, no I/O and no keys.

`screen` can only refuse. It spares a thread and a signature check to what cannot be a good token
(https://firebase.google.com/docs/auth/admin/verify-id-tokens lists what makes one).
"""

import binascii
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from routing.caller import Caller
from routing.errors import Unauthenticated

ISSUER: Final = "https://securetoken.google.com/"
MAX_TOKEN_LENGTH: Final = 16_384
"""Characters: Firebase's own tokens stay under 4,096, with 1,000 bytes of custom claims."""
LONGEST_UID: Final = 128
SKEW: Final = 5.0
"""Seconds our clock may be behind the issuer's. A token is never taken after its end."""
_FORM: Final = re.compile(r"([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]++)\.([A-Za-z0-9_-]*+)")


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


_header: Final = msgspec.json.Decoder(_Header)
_claims: Final = msgspec.json.Decoder(_Claims)


def screen(token: str, project: str, now: float, *, signed: bool = True) -> None:
    """Raise Unauthenticated if the token cannot be good. `signed` is False for an emulator's, which are not."""
    header, claims, signature = _parsed(token)
    if signed and (header.alg != "RS256" or not header.kid or not signature):
        _refuse()
    if claims.aud != project or claims.iss != ISSUER + project or not _is_uid(claims.sub):
        _refuse()
    if claims.exp <= now:
        raise Unauthenticated("the token has expired")
    if max(claims.iat, claims.auth_time) > now + SKEW:
        _refuse()


def caller_of(claims: Mapping[str, object]) -> Caller:
    """Whom verified claims name. Scopes we cannot read are no scopes; no `scopes` claim is None."""
    uid, exp = claims.get("sub"), claims.get("exp")
    if not isinstance(uid, str) or not _is_uid(uid) or not isinstance(exp, int | float):
        _refuse()
    scopes = _scopes(claims["scopes"]) if "scopes" in claims else None
    return Caller(f"firebase:{uid}", _tenant(claims.get("firebase")), scopes, float(exp))


def _parsed(token: str) -> tuple[_Header, _Claims, bytes]:
    form = _FORM.fullmatch(token) if len(token) <= MAX_TOKEN_LENGTH else None
    if form is None:
        _refuse()
    header, claims, signature = form.groups()
    try:
        return _header.decode(_bytes(header)), _claims.decode(_bytes(claims)), _bytes(signature)
    except (msgspec.MsgspecError, binascii.Error, RecursionError):
        _refuse()


def _bytes(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_uid(text: str) -> bool:
    """It becomes part of a log line and of a header: no control characters, no space that a header would lose."""
    return 0 < len(text) <= LONGEST_UID and text.isprintable() and text.strip() == text


def _tenant(firebase: object) -> str | None:
    tenant = firebase.get("tenant") if isinstance(firebase, dict) else None
    return tenant if isinstance(tenant, str) and tenant else None


def _scopes(claim: object) -> frozenset[str]:
    if isinstance(claim, str):
        return frozenset(claim.split())
    if isinstance(claim, list) and all(isinstance(scope, str) for scope in claim):
        return frozenset(claim)
    return frozenset()


def _refuse() -> NoReturn:
    raise Unauthenticated("the token is not valid") from None
