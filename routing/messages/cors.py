"""Cross-origin resource sharing: preflight responses and CORS fields (Fetch standard, section 3.2)."""

from typing import Final

from routing.http import Headers, Request, Response, first

EXPOSED: Final = (
    b"X-Request-ID, X-Cache, Cache-Status, Age, RateLimit, RateLimit-Policy, Retry-After, Server-Timing, Location, "
    b"Idempotency-Replayed"
)
PREFLIGHT_MAX_AGE: Final = b"600"


class Cors:
    """The origins that may read responses; `*` is any. Credentials are sent as fields, never as cookies."""

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self.origins = frozenset(origin.encode() for origin in origins)

    def preflight(self, request: Request) -> Response | None:
        """The response to a preflight request; None for any other request."""
        if request.method != "OPTIONS":
            return None
        method = first(request.headers, b"access-control-request-method")
        if method is None or first(request.headers, b"origin") is None:
            return None
        allowed = self.fields(request)
        if len(allowed) > 1:
            requested = first(request.headers, b"access-control-request-headers") or b""
            allowed += [
                (b"access-control-allow-methods", method),
                (b"access-control-allow-headers", requested),
                (b"access-control-max-age", PREFLIGHT_MAX_AGE),
            ]
        return Response(204, allowed)

    def fields(self, request: Request) -> Headers:
        """The CORS fields of the response to this request; none if no origins are configured."""
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
