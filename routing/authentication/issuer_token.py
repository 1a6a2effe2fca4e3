"""A JWT of a configured issuer: what it must contain, and the caller it names. No I/O.

The checks are those of RFC 7519 and RFC 8725 (best current practices), and of OpenID Connect Core section 3.1.3.7.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NoReturn
from urllib.parse import quote

import msgspec

from routing.authentication.issuer_policy import Algorithm, Issuer, algorithm_of
from routing.authentication.jwks import ANY, MAX_KID_LENGTH
from routing.authentication.token_parts import ParsedToken, looks_like_jwt, parse
from routing.caller import EVERY_SERVICE, GATEWAY_SCOPES, Caller, TokenIdentity
from routing.errors import InvalidToken

MAX_NAME_LENGTH: Final = 255
"""The most characters of a subject, a tenant or an email address."""
MAX_CALLER_LENGTH: Final = 380
"""The most characters of a caller's id."""
MAX_TENANT_LENGTH: Final = 200
MAX_SCOPES: Final = 500
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
"""A member of the claim `events` of a logout token (OpenID Connect Back-Channel Logout 1.0), which is no credential."""
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}=?")
_ACCESS_TOKEN: Final = "at+jwt"  # noqa: S105 - a media type (RFC 9068)


def check_header(token: ParsedToken, issuer: Issuer) -> tuple[Algorithm, str]:
    """The algorithm and the key id of a token. Raises InvalidToken if the token cannot be one of the issuer's."""
    header = token.header
    if "crit" in header or "b64" in header:
        _reject("the token has extensions that are not supported")
    algorithm = algorithm_of(header.get("alg"))
    if algorithm is None or algorithm not in issuer.algorithms:
        _reject("the token's algorithm is not accepted")
    if not token.signature:
        _reject("the token is not signed")
    kind = header.get("cty")
    if kind is not None and (not isinstance(kind, str) or kind.lower().removeprefix("application/") != "json"):
        _reject("the token contains another token")
    _check_type(header.get("typ"), issuer.types)
    kid = header.get("kid", ANY)
    if not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH or ("kid" in header and not kid):
        _reject("the token's key id is not valid")
    return algorithm, kid


def check_times(claims: Mapping[str, Any], leeway: float, now: float) -> float:
    """The end of the token, in Unix time. Raises InvalidToken if it does not hold now."""
    expires, begins, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is None:
        _reject("the token does not expire")
    if expires + leeway <= now:
        _reject("the token has expired")
    if begins is not None and begins > now + leeway:
        _reject("the token is not valid yet")
    if issued is not None and issued > now + leeway:
        _reject("the token was issued in the future")
    return expires + leeway


def check_audience(claims: Mapping[str, Any], issuer: Issuer) -> None:
    """Raises InvalidToken."""
    audience = claim(claims, issuer.claims.audience)
    named = [audience] if isinstance(audience, str) else audience
    if not isinstance(named, list) or not all(isinstance(item, str) for item in named):
        _reject("the token has no audience")
    if not set(named).intersection(issuer.audience):
        _reject("the token is for another audience")


def caller_of(claims: Mapping[str, Any], issuer: Issuer, expires: float | None, services: Collection[str]) -> Caller:
    """The caller named by verified claims. `services` are all that are configured. Raises InvalidToken.

    A token's scopes name services, or permissions of them. Where they name a service, the caller may use no other.
    """
    if is_logout_token(claims):  # whose type need not say so
        _reject("the token is a logout token")
    for path, accepted in issuer.require:
        if not _has(claim(claims, path), accepted):
            _reject(f"the token's claim {path} has not the required value")
    subject, tenant = _name(claims, issuer.claims.id), _name(claims, issuer.claims.tenant)
    if subject is None:
        _reject("the token has no subject")
    group = None if tenant is None else f"{issuer.name}:{tenant}"
    caller_id = f"{caller_kind(issuer, tenant)}:{subject}"
    if len(caller_id) > MAX_CALLER_LENGTH or len(group or "") > MAX_TENANT_LENGTH:
        _reject("the token's subject is too long")
    scopes = _scopes(claims, issuer.claims.scopes)
    identity = TokenIdentity(issuer.issuer, subject, tenant, _email(claims, issuer.claims.email), _token_id(claims))
    allowed = _allowed(issuer, scopes, services)
    if issuer.services is not None:
        scopes = scopes.difference(GATEWAY_SCOPES)
    return Caller(caller_id, group, scopes, expires, allowed, identity, confirmation=_confirmation(claims))


def present_caller(token: str, caller: Caller, issuer: Issuer, services: Collection[str], now: float) -> Caller:
    """The caller of a token by the issuer's present settings, where `caller` is the one that was verified before.

    Neither is the signature verified again nor an authorization server asked: of an opaque token, only what it may be
    used for is found anew. `now` is Unix time. Raises InvalidToken.
    """
    if not looks_like_jwt(token):
        return msgspec.structs.replace(caller, services=_allowed(issuer, caller.scopes or frozenset(), services))
    parsed = parse(token)
    check_header(parsed, issuer)
    expires = check_times(parsed.claims, issuer.leeway, now)
    check_audience(parsed.claims, issuer)
    return caller_of(parsed.claims, issuer, expires, services)


def caller_kind(issuer: Issuer, tenant: str | None) -> str:
    """The part of a caller's id before its subject."""
    return f"jwt+{issuer.name}" + ("" if tenant is None else f"+{quote(tenant, safe='', errors='surrogatepass')}")


def likely_caller(issuer: Issuer, subject: str, tenant: str | None, services: Collection[str]) -> Caller:
    """The caller of a token that has no scopes and the required claims."""
    group = None if tenant is None else f"{issuer.name}:{tenant}"
    identity = TokenIdentity(issuer.issuer, subject, tenant)
    allowed = _allowed(issuer, frozenset(), services)
    return Caller(f"{caller_kind(issuer, tenant)}:{subject}", group, frozenset(), None, allowed, identity)


def is_logout_token(claims: Mapping[str, Any]) -> bool:
    events = claims.get("events")
    return isinstance(events, dict) and isinstance(events.get(LOGOUT_EVENT), dict)


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, or by a path of names joined by dots; None if there is none.

    Names may contain dots themselves, as https://example.com/app and Keycloak's clients do: the longest one is taken.
    """
    if path in claims:
        return claims[path]
    end = path.rfind(".")
    while end > 0:
        value = claims.get(path[:end])
        if isinstance(value, dict):
            return claim(value, path[end + 1 :])
        end = path.rfind(".", 0, end)
    return None


def _allowed(issuer: Issuer, scopes: frozenset[str], services: Collection[str]) -> frozenset[str]:
    """The services that the caller may use, as far as the issuer and the token's scopes decide."""
    named = scopes.intersection((*services, EVERY_SERVICE))
    every = frozenset({EVERY_SERVICE})
    limits = every if issuer.services is None else frozenset(issuer.services)
    wanted = every if not named or EVERY_SERVICE in named else named
    if EVERY_SERVICE in limits:
        return wanted
    return limits if EVERY_SERVICE in wanted else limits & wanted


def _check_type(kind: object, accepted: tuple[str, ...]) -> None:
    """A logout token or a proof of possession is no credential, though the issuer has signed it."""
    if kind is not None and not isinstance(kind, str):
        _reject("the token's type is not valid")
    found = "" if kind is None else kind.lower().removeprefix("application/")
    if accepted:
        if found not in accepted:
            _reject("the token has another type")
    elif found.endswith("+jwt") and found != _ACCESS_TOKEN:
        _reject("the token has another type")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    try:
        seconds = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        seconds = math.inf
    if not math.isfinite(seconds):
        _reject(f"the token's claim {name} is not a time")
    return seconds


def _name(claims: Mapping[str, Any], path: str) -> str | None:
    """A name in a claim, which must fit into a log line and a header field."""
    value = claim(claims, path)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME_LENGTH:
        _reject(f"the token's claim {path} is not a name")
    if not value.isprintable() or value.strip() != value:
        _reject(f"the token's claim {path} is not a name")
    return value


def _email(claims: Mapping[str, Any], path: str) -> str | None:
    """An address; not one that its owner has not confirmed, with which anybody may have registered."""
    value = claim(claims, path)
    if claims.get("email_verified") in (False, "false") or not isinstance(value, str):
        return None
    return value if 0 < len(value) <= MAX_NAME_LENGTH and value.isprintable() and " " not in value else None


def _token_id(claims: Mapping[str, Any]) -> str | None:
    value = claims.get("jti")
    return value if isinstance(value, str) and 0 < len(value) <= MAX_NAME_LENGTH else None


def _confirmation(claims: Mapping[str, Any]) -> str | None:
    """The thumbprint of the certificate that the token is bound to (RFC 8705 section 3.1).

    A token that is bound to a key (RFC 7800), as those of DPoP (RFC 9449), is not accepted without proof of the key.
    """
    confirmation = claims.get("cnf")
    if confirmation is None:
        return None
    if not isinstance(confirmation, dict):
        _reject("the token's confirmation is not valid")
    if confirmation.keys() - {"x5t#S256"}:
        _reject("the token is bound to a key, of which there is no proof")
    if "x5t#S256" not in confirmation:
        return None
    thumbprint = confirmation["x5t#S256"]
    if not isinstance(thumbprint, str) or _THUMBPRINT.fullmatch(thumbprint) is None:
        _reject("the token's confirmation is not valid")
    return thumbprint.rstrip("=")


def _scopes(claims: Mapping[str, Any], paths: tuple[str, ...]) -> frozenset[str]:
    """Those of all claims together: texts separated by spaces, or lists."""
    found: set[str] = set()
    for path in paths:
        value = claim(claims, path)
        words = value.split() if isinstance(value, str) else [] if value is None else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            _reject(f"the token's claim {path} is not a list of scopes")
        if not all(map(_is_text, words)):
            _reject(f"the token's claim {path} is not text")
        found.update(words)
    if len(found) > MAX_SCOPES:
        _reject("the token has too many scopes")
    return frozenset(found)


def _is_text(word: str) -> bool:
    """JSON may have halves of surrogate pairs alone, which no encoding has."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def _has(value: object, accepted: tuple[object, ...]) -> bool:
    """Whether the claim is one of the accepted values, or a list with one of them. Booleans are not numbers here."""
    items = value if isinstance(value, list) else [value]
    return any(item == one and isinstance(item, bool) is isinstance(one, bool) for item in items for one in accepted)


def _reject(reason: str) -> NoReturn:
    raise InvalidToken(reason)
