"""Cross-origin resource sharing: preflight responses and CORS fields (Fetch standard, section 3.2).

The gateway decides for all services (ADR 16): a backend's `Access-Control-*` fields are dropped, except
`Access-Control-Expose-Headers`, which is added to the gateway's own.
"""

from functools import lru_cache
from typing import Final

import msgspec

from routing.http import Header, Headers, Request, Response, first
from routing.messages.origins import ANY, NULL, Origins

EXPOSED: Final = (
    "X-Request-ID",
    "X-Cache",
    "Cache-Status",
    "Age",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "X-Circuit-State",
    "X-Gateway-Debug",
    "X-Gateway-Fallback",
    "Idempotency-Replayed",
    "WWW-Authenticate",
    "Allow",
    "Location",
    "Content-Location",
    "ETag",
    "Link",
    "Content-Range",
    "Accept-Ranges",
    "Content-Disposition",
)
"""The gateway's own fields, and those of HTTP that clients need and browsers hide by default."""
EXPOSE_HEADERS: Final = b"access-control-expose-headers"
_VARY_ORIGIN: Final[Header] = (b"vary", b"Origin")


class CorsPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What pages of other origins may do. `origins` None: those of CORS_ORIGINS. No `methods` or `headers`: any.

    `credentials` lets pages send cookies and read the response. `max_age` is seconds.
    """

    origins: tuple[str, ...] | None = None
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    expose: tuple[str, ...] = ()
    credentials: bool = False
    max_age: float = 600.0

    def __post_init__(self) -> None:
        if self.credentials and {ANY, NULL}.intersection(self.origins or ()):
            raise ValueError("credentials cannot be combined with the origins '*' or null: list the origins")
        if not 0 <= self.max_age <= 86_400:
            raise ValueError("max_age must be at most 1 day")


class Cors:
    """A compiled policy."""

    def __init__(self, policy: CorsPolicy) -> None:
        self.origins = Origins(policy.origins or ())
        self._allows_credentials = policy.credentials
        self._exposed = ", ".join(dict.fromkeys((*EXPOSED, *policy.expose))).encode()
        self._methods = _fixed_list(policy.methods)
        self._headers = _fixed_list(policy.headers)
        self._max_age = b"%d" % policy.max_age

    @classmethod
    def of(cls, policy: CorsPolicy | None, default_origins: tuple[str, ...]) -> "Cors | None":
        """The compiled policy, or None where no origin is allowed. Compiled once for each policy."""
        return _compile(policy or CorsPolicy(), default_origins)

    def allows(self, origin: bytes) -> bool:
        return self.origins.contains(origin.decode("latin-1"))

    def preflight_fields(self, request: Request) -> Headers:
        """What only the response to a preflight request has; nothing for an origin that is not allowed."""
        if not self.allows(first(request.headers, b"origin") or b""):
            return []
        method = first(request.headers, b"access-control-request-method") or b""
        requested = first(request.headers, b"access-control-request-headers")
        fields = [(b"access-control-allow-methods", self._methods or method)]
        if requested is not None:
            fields.append((b"access-control-allow-headers", self._headers or requested))
        fields.append((b"access-control-max-age", self._max_age))
        return fields

    def response_fields(self, origin: bytes) -> Headers:
        """`Access-Control-Allow-Origin` and what goes with it, for any response."""
        if self.origins.has_any:
            return [(b"access-control-allow-origin", b"*"), (EXPOSE_HEADERS, self._exposed)]
        if not self.allows(origin):
            return []
        fields = [(b"access-control-allow-origin", origin), (EXPOSE_HEADERS, self._exposed)]
        if self._allows_credentials:
            fields.append((b"access-control-allow-credentials", b"true"))
        return fields

    @property
    def varies(self) -> bool:
        """Whether responses depend on the request's origin."""
        return not self.origins.has_any

    def add_fields(self, request: Request, headers: Headers) -> None:
        """Add the CORS fields to those of a response. A backend's list of exposed fields is kept."""
        if self.varies and not _varies_by_origin(headers):
            headers.append(_VARY_ORIGIN)
        added = self.response_fields(request.fields.get(b"origin", b""))
        if not added:
            return
        exposed = [value for name, value in headers if name == EXPOSE_HEADERS and value]
        if exposed:
            headers[:] = [field for field in headers if field[0] != EXPOSE_HEADERS]
            added[1] = EXPOSE_HEADERS, b", ".join([added[1][1], *exposed])
        headers += added


def is_preflight(request: Request) -> bool:
    """Whether a browser announces a request with this one (Fetch standard, section 3.2.2)."""
    fields = request.fields
    return request.method == "OPTIONS" and b"access-control-request-method" in fields and b"origin" in fields


def preflight_response(request: Request, cors: Cors | None) -> Response:
    """The response to a preflight request, without the fields that every response gets."""
    return Response(204, [] if cors is None else cors.preflight_fields(request))


@lru_cache(maxsize=1_024)
def _compile(policy: CorsPolicy, default_origins: tuple[str, ...]) -> Cors | None:
    if policy.origins is None:
        policy = CorsPolicy(
            origins=default_origins,
            methods=policy.methods,
            headers=policy.headers,
            expose=policy.expose,
            # The default origins are not the service's: `*` among them must not carry cookies.
            credentials=policy.credentials and not {ANY, NULL}.intersection(default_origins),
            max_age=policy.max_age,
        )
    return Cors(policy) if policy.origins else None


def _fixed_list(names: tuple[str, ...]) -> bytes:
    """The value of the field; empty where whatever is requested is allowed."""
    return b"" if ANY in names else ", ".join(names).encode()


def _varies_by_origin(headers: Headers) -> bool:
    for name, value in headers:
        if name == b"vary" and {b"origin", b"*"}.intersection(map(bytes.strip, value.lower().split(b","))):
            return True
    return False
