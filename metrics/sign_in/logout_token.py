"""The sessions that a logout token names. No I/O.

The checks are those of OpenID Connect Back-Channel Logout 1.0, section 2.6. The signature is verified elsewhere.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from metrics.sign_in.claims import MAX_SUBJECT_LENGTH
from metrics.sign_in.policy import Provider
from routing.authentication.issuer_policy import Issuer
from routing.authentication.issuer_token import MAX_NAME_LENGTH, check_audience, check_times, is_logout_token
from routing.errors import InvalidToken

MAX_AGE_SECONDS: Final = 3_600.0
"""The longest accepted age of a token, whatever its `exp`. Ids of used tokens are kept as long, to refuse repeats."""
AGE_WITHOUT_EXPIRY_SECONDS: Final = 300.0
"""Some providers leave `exp` out, which was not required at first."""
_LATEST: Final = 1e15
"""JSON has numbers that no Unix time and no float can represent."""
_TYPES: Final = ("", "jwt", "logout+jwt")


class LogoutRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Ends the sessions of a person (`subject`), those of one session at the provider (`sid`), or those that are both.
    One of them may be "". `token_id` is the token's own.
    """

    token_id: str
    subject: str = ""
    sid: str = ""


def issuer_of(provider: Provider) -> Issuer:
    """The issuer of logout tokens: that of ID tokens, with another type."""
    return msgspec.structs.replace(provider.trusted, types=_TYPES)


def read(claims: Mapping[str, Any], provider: Provider, now: float) -> LogoutRequest:
    """What a token with these claims asks for. Raises InvalidToken unless it is a logout token for this client, now."""
    trusted = provider.trusted
    if claims.get("iss") != provider.issuer:
        raise InvalidToken("the token is of another issuer")
    check_audience(claims, trusted)
    _check_times(claims, trusted.leeway, now)
    if not is_logout_token(claims):
        raise InvalidToken("the token is not a logout token")
    if "nonce" in claims:  # an ID token has one
        raise InvalidToken("a logout token has no nonce")
    token_id = _name(claims, "jti", MAX_NAME_LENGTH)
    subject, sid = _name(claims, "sub", MAX_SUBJECT_LENGTH), _name(claims, "sid", MAX_NAME_LENGTH)
    if not token_id:
        raise InvalidToken("the token has no id")
    if not (subject or sid):
        raise InvalidToken("the token names neither a session nor a person")
    return LogoutRequest(token_id=token_id, subject=subject, sid=sid)


def _check_times(claims: Mapping[str, Any], leeway: float, now: float) -> None:
    issued = claims.get("iat")
    if not isinstance(issued, int | float) or isinstance(issued, bool):
        raise InvalidToken("the token has no time of issue")
    if not abs(issued) < _LATEST:
        raise InvalidToken("the token's claim iat is not a time")
    check_times({"exp": issued + AGE_WITHOUT_EXPIRY_SECONDS, **claims}, leeway, now)
    if issued + MAX_AGE_SECONDS + leeway <= now:
        raise InvalidToken("the token was issued too long ago")


def _name(claims: Mapping[str, Any], name: str, length: int) -> str:
    """ "" if there is none. Raises InvalidToken."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > length or not value.isprintable():
        raise InvalidToken(f"the token's claim {name} is not a name")
    return value
