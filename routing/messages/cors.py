"""Browsers on other origins: who may read answers, and the preflights that ask (the Fetch standard, section 3.2)."""

from typing import Final

from routing.http import Headers, Request, Response, first

EXPOSED: Final = (
    b"X-Request-ID, X-Cache, Cache-Status, Age, RateLimit, RateLimit-Policy, Retry-After, Server-Timing, Location, "
    b"Idempotency-Replayed"
)
PREFLIGHT_SECONDS: Final = b"600"


class Cors:
    """The origins that may read answers; `*` is every one. Credentials are header fields, never cookies."""

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self.origins = frozenset(origin.encode() for origin in origins)

    def preflight(self, request: Request) -> Response | None:
        """The gateway's own answer to a preflight; None for any other request."""
        if request.method != "OPTIONS":
            return None
        method = first(request.headers, b"access-control-request-method")
        if method is None or first(request.headers, b"origin") is None:
            return None
        allowed = self.fields(request)
        if len(allowed) > 1:
            asked = first(request.headers, b"access-control-request-headers") or b""
            allowed += [
                (b"access-control-allow-methods", method),
                (b"access-control-allow-headers", asked),
                (b"access-control-max-age", PREFLIGHT_SECONDS),
            ]
        return Response(204, allowed)

    def fields(self, request: Request) -> Headers:
        """What an answer says to this request's origin: nothing where no origin may read."""
        if not self.origins:
            return []
        origin = (first(request.headers, b"origin") or b"").lower()
        if origin not in self.origins:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED),
        ]
