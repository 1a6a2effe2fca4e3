"""What Google's APIs have in common: errors, tokens and the endpoint that issues them, limits, push notifications."""

import time
from base64 import urlsafe_b64decode
from typing import Any, Final

import jwt
from aiohttp import web

from resilience.durations import MINUTE
from routing.demo.controls import Controls, fields, reply

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MAX_TOKENS: Final = 10_000


class GoogleError(Exception):
    """An error with Google's JSON. `status` is the canonical name, such as NOT_FOUND."""

    def __init__(self, code: int, reason: str, message: str, *, domain: str = "global", **details: str) -> None:
        super().__init__(message)
        self.code = code
        error = {"message": message, "domain": domain, "reason": reason}
        self.body: dict[str, Any] = {"error": {"code": code, "message": message, "errors": [error | details]}}
        status = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}.get(
            code
        )
        if status is not None and domain == "global":
            self.body["error"]["status"] = status


def not_found() -> GoogleError:
    return GoogleError(404, "notFound", "Requested entity was not found.")


def invalid(parameter: str) -> GoogleError:
    message = f"Invalid value for {parameter}"
    return GoogleError(400, "invalid", message, location=parameter, locationType="parameter")


class GoogleAccess:
    """The access tokens of one API, and its limits."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._issued: dict[str, float] = {}

    def attach(self, backend: web.Application) -> None:
        backend.router.add_post("/token", self.issue)

    def check(self, request: web.Request, operation: str, cost: int, units: int) -> None:
        """Count a call, and raise GoogleError for its token, an error that is set, or the limit of `units` a minute."""
        self._controls.calls[operation] += 1
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not self._accepts(token if scheme.lower() == "bearer" else None):
            message = (
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential."
            )
            raise GoogleError(401, "authError", message, location="Authorization", locationType="header")
        error = self._controls.settings.errors.get(operation)
        if error is not None:
            raise _configured(error)
        remaining, _ = self._controls.use(caller(request), units, MINUTE, cost)
        if remaining < 0:
            raise _configured("rateLimitExceeded")

    async def issue(self, request: web.Request) -> web.Response:
        """A token for a refresh token or a signed assertion, whose signature is not verified (RFC 6749, RFC 7523)."""
        given = await fields(request)
        grant = given.get("grant_type")
        self._controls.calls["token"] += 1
        if grant == "refresh_token":
            refused = _refused_client(given) or _refused_refresh_token(given.get("refresh_token", ""))
        elif grant == JWT_BEARER:
            refused = _refused_assertion(given.get("assertion", ""))
        else:
            refused = ("unsupported_grant_type", f"Invalid grant_type: {grant}")
        if refused is not None:
            status = 401 if refused[0] == "invalid_client" else 400
            return reply({"error": refused[0], "error_description": refused[1]}, status, _NO_STORE)
        if len(self._issued) >= MAX_TOKENS:
            self._issued.clear()
        token, seconds = f"ya29.demo-{self._controls.calls['token']}", self._controls.settings.token_seconds
        self._issued[token] = time.monotonic() + seconds
        body = {"access_token": token, "expires_in": seconds, "scope": given.get("scope", ""), "token_type": "Bearer"}
        return reply(body, headers=_NO_STORE)

    def _accepts(self, token: str | None) -> bool:
        required = self._controls.settings.token
        if token is None:
            return required is None
        if token in self._issued:
            return time.monotonic() < self._issued[token]
        return token == required if required is not None else token.startswith("ya29.") and "expired" not in token


_NO_STORE: Final = {"Cache-Control": "no-cache, no-store, max-age=0, must-revalidate", "Pragma": "no-cache"}


def caller(request: web.Request) -> str:
    """The address of the mailbox `me`: the caller's that the gateway names, or the demonstration's own."""
    return request.headers.get("X-Gateway-Caller", "me@company.example")


def error_response(error: GoogleError, headers: dict[str, str]) -> web.Response:
    challenge = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/", error="invalid_token"'}
    return reply(error.body, error.code, headers | (challenge if error.code == 401 else {}))


def page(items: list[Any], token: str, size: str | None, default: int, largest: int) -> tuple[list[Any], str | None]:
    """A page, and the token of the next. Raises GoogleError."""
    try:
        begin, limit = int(token or "0", 16), int(size or default)
    except ValueError:
        raise invalid("pageToken") from None
    if limit < 1 or begin < 0:
        raise invalid("maxResults")
    end = begin + min(limit, largest)
    return items[begin:end], f"{end:x}" if end < len(items) else None


def decode_base64(text: str) -> bytes:
    """URL-safe base64 with or without padding. Raises ValueError."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _configured(reason: str) -> GoogleError:
    """An error by its reason, with the status that Google sends it with."""
    if reason in ("rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"):
        return GoogleError(403, reason, "Quota exceeded for quota metric 'Queries'.", domain="usageLimits")
    if reason == "backendError":
        return GoogleError(503, reason, "The service is currently unavailable.")
    return GoogleError(403, reason, reason)


def _refused_client(given: dict[str, str]) -> tuple[str, str] | None:
    known = given.get("client_id") and given.get("client_secret")
    return None if known else ("invalid_client", "The OAuth client was not found.")


def _refused_refresh_token(token: str) -> tuple[str, str] | None:
    if token.startswith("1//") and "revoked" not in token:
        return None
    return "invalid_grant", "Token has been expired or revoked."


def _refused_assertion(assertion: str) -> tuple[str, str] | None:
    try:
        claims = jwt.decode(assertion, options={"verify_signature": False})
        expires = float(claims["exp"])
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        return "invalid_grant", "Invalid JWT Signature."
    if not all(isinstance(claims.get(name), str) for name in ("iss", "aud", "scope")):
        return "invalid_grant", "Invalid JWT: iss, aud and scope are required."
    now = time.time()
    if not now - 60 < expires < now + 3_660:
        return "invalid_grant", "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe."
    return None
