"""What a token endpoint has returned: tokens, or why there are none. No I/O."""

import math
import re
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from routing.http import Headers, first
from routing.messages.json_decoding import decode_json

DEFAULT_SECONDS: Final = 3_600.0
"""The lifetime of a token whose response does not say one that can be believed."""
MIN_SECONDS: Final = 30.0
MAX_SECONDS: Final = 30 * 86_400.0
"""Bounds of a lifetime: one of zero would be fetched again for every request."""
MAX_RETRY_AFTER_SECONDS: Final = 900.0
MAX_TOKEN_LENGTH: Final = 16_384
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
"""The characters of an access token, which becomes part of a header field."""
_UNSPECIFIC: Final = frozenset({"malformed_error", "refused"})
"""Codes of ours for an error that is none of RFC 6749's: of an unsuccessful response, the status says more."""
_ERROR_CODE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
PERMANENT: Final = frozenset(
    {
        "invalid_grant",
        "invalid_client",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        # Slack (oauth.v2.access)
        "invalid_refresh_token",
        "token_revoked",
        "token_expired",
        "invalid_client_id",
        "bad_client_secret",
        "account_inactive",
        # GitHub
        "bad_refresh_token",
        "incorrect_client_credentials",
        # HubSpot, as `status`
        "BAD_REFRESH_TOKEN",
        "BAD_CLIENT_ID",
        "BAD_CLIENT_SECRET",
        # Salesforce
        "inactive_user",
        "inactive_org",
        "invalid_client_credentials",
        # OpenID Connect Core 1.0, section 3.1.2.6: only a person can go on
        "interaction_required",
        "login_required",
        "consent_required",
    }
)
"""Errors that a retry cannot fix."""
ENDED: Final = frozenset(
    {
        "invalid_grant",
        "invalid_refresh_token",
        "token_revoked",
        "token_expired",
        "bad_refresh_token",
        "BAD_REFRESH_TOKEN",
        "interaction_required",
        "login_required",
        "consent_required",
    }
)
"""Errors that end a grant: the account has to be connected again, or the refresh token replaced."""


class TokenResponse(msgspec.Struct, frozen=True):
    """A successful response. `expires_in` is seconds, within the bounds. `refresh_token` is empty if none was sent.
    `account` is a name of the account for people, if the response has one; `expires`: whether it says when.
    """

    access_token: str
    expires_in: float
    refresh_token: str = ""
    account: str = ""
    expires: bool = True

    def __repr__(self) -> str:
        return f"Tokens(expires_in={self.expires_in:g})"


class TokenRequestFailed(Exception):
    """No token was obtained. `code` is safe to show: an OAuth error code, or one of ours."""

    def __init__(self, code: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.permanent = permanent
        self.retry_after = retry_after

    @property
    def ends_grant(self) -> bool:
        return self.code in ENDED


def read_tokens(
    status: int, headers: Headers, body: bytes, now: float, token_object: str = "", *, is_refresh: bool = False
) -> TokenResponse:
    """The tokens of a response. Raises TokenRequestFailed. `now` is Unix time, for a Retry-After that is a date.

    `token_object` is the member that contains the tokens. Slack nests those of a user when they are granted, beside the
    application's own, and not when they are refreshed.
    """
    document = _object(body)
    code, is_success = _error_code(document), 200 <= status < 300
    if not is_success and code in _UNSPECIFIC:
        code = ""
    if code or not is_success:
        raise TokenRequestFailed(
            code or f"status_{status}",
            permanent=code in PERMANENT or (not code and status in (401, 403)),
            retry_after=_retry_after(headers, now),
        )
    if document is None:
        raise TokenRequestFailed("not_json")
    holder = document.get(token_object) if token_object else document
    if is_refresh and not (isinstance(holder, dict) and "access_token" in holder):
        holder = document
    if not isinstance(holder, dict):
        raise TokenRequestFailed("no_access_token")
    token = holder.get("access_token")
    if not isinstance(token, str) or not token:
        raise TokenRequestFailed("no_access_token")
    if len(token) > MAX_TOKEN_LENGTH or _TOKEN.fullmatch(token) is None:
        raise TokenRequestFailed("malformed_access_token")
    refresh = holder.get("refresh_token")
    usable = isinstance(refresh, str) and len(refresh) <= MAX_TOKEN_LENGTH
    expires_in = holder.get("expires_in")
    return TokenResponse(
        token,
        lifetime(expires_in),
        str(refresh) if usable else "",
        _account(document, holder),
        expires_in is not None,
    )


def lifetime(value: object) -> float:
    """Seconds for which a token is used, by its `expires_in`, whatever that is."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return DEFAULT_SECONDS
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (isinstance(value, float) and math.isnan(value))
    ):
        return DEFAULT_SECONDS
    return float(min(max(value, MIN_SECONDS), MAX_SECONDS))


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = decode_json(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _error_code(document: dict[str, Any] | None) -> str:
    """The `error` of RFC 6749 section 5.2, which Slack sends with 200, or HubSpot's `status`; empty without one."""
    if document is None:
        return ""
    code, status = document.get("error"), document.get("status")
    if not code and isinstance(status, str) and status in PERMANENT:
        return status
    if isinstance(code, str) and code:
        return code if _ERROR_CODE.fullmatch(code) else "malformed_error"
    return "refused" if code or document.get("ok") is False else ""


def _account(document: dict[str, Any], holder: dict[str, Any]) -> str:
    """A name of the account, if the response contains one: for people to recognise."""
    team = document.get("team")
    names = (holder.get("email"), document.get("hub_domain"), team.get("name") if isinstance(team, dict) else None)
    return next((name[:100] for name in names if isinstance(name, str) and name.isprintable()), "")


def _retry_after(headers: Headers, now: float) -> float | None:
    """Seconds (RFC 9110 section 10.2.3), at most MAX_RETRY_AFTER_SECONDS."""
    value = (first(headers, b"retry-after") or b"").decode("latin-1").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
