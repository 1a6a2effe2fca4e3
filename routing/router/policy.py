"""The settings of a route: frozen, and validated when they are constructed."""

import re
from enum import StrEnum
from math import inf
from typing import Final
from urllib.parse import urlsplit

import msgspec

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy
from resilience.holdoff.policy import HoldOffPolicy
from resilience.outbound.policy import OutboundPolicy
from resilience.partition import Part
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.signatures.policy import SignaturePolicy
from routing.consumers.price import Price
from routing.http import Header
from routing.messages.cors import CorsPolicy
from routing.messages.outcome import OutcomePolicy
from routing.networks import Addresses
from routing.router.credential_policy import CredentialPolicy
from routing.router.identity_policy import IdentityPolicy
from routing.router.request_log_policy import RequestLogPolicy
from routing.tls.policy import TlsPolicy

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
"""A service's name: a path segment, a scope and a part of keys and channel names."""


MAX_SECONDS: Final = 365 * 86_400.0
"""The longest time limit that is not infinite."""

MAX_TOTAL_SECONDS: Final = 3_600.0
"""The longest `connect` and `read`, and the longest `total` that is not infinite."""
WITHOUT_CONTENT: Final = frozenset({204, 205, 304})
"""Statuses of responses that have no body (RFC 9110 section 15)."""
HOST: Final = re.compile(r"[A-Za-z0-9._-]+|.*:.*")
"""A target's host: a name, an address, or one of IPv6 without its brackets. Not a template such as ${HOST}."""
_VISIBLE: Final = re.compile(r"[!-~]+")


class Auth(StrEnum):
    """`required`: an API key, a token, or a client certificate or a signature where the gateway knows any."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"
    CERTIFICATE = "certificate"
    SIGNATURE = "signature"


class Spelling(StrEnum):
    REFUSE = "refuse"
    PASS = "pass"  # noqa: S105 - the value of a setting


class TrailingSlash(StrEnum):
    SAME = "same"
    STRICT = "strict"


class PathPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a service reads paths, as far as servers differ. See routing/router/spelling.py.

    `encoded_slash` is for `%2F`, `%5C` and a backslash; None refuses them where the service has routes.
    `empty_segments` is for `//`. `trailing_slash`: whether a route matches its path with a slash appended too.
    """

    encoded_slash: Spelling | None = None
    empty_segments: Spelling = Spelling.REFUSE
    case_sensitive: bool = True
    trailing_slash: TrailingSlash = TrailingSlash.SAME


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """The time limits of a call, in seconds; infinity for none.

    `connect`: to open a connection. `read`: from the complete request to the response's head. `total`: from the start
    to the head, over all attempts, and for the upload of a body. `idle`: between two pieces of a body, in either
    direction. `stream`: for the whole body of a response. `ping`: of silence in an event stream, until a comment is
    sent to the client (routing/messages/comments.py).
    """

    connect: float = 2.0
    read: float = 10.0
    total: float = 30.0
    idle: float = 60.0
    stream: float = inf
    ping: float = inf

    def __post_init__(self) -> None:
        for field in ("connect", "read", "total"):
            value = getattr(self, field)
            if not 0 < value <= MAX_TOTAL_SECONDS and not (field == "total" and value == inf):
                raise ValueError(f"{field} must be above 0 and at most 1 hour")
        for field in ("idle", "stream"):
            value = getattr(self, field)
            if not (0 < value <= MAX_SECONDS or value == inf):
                raise ValueError(f"{field} must be above 0 and at most 365 days, or null for no limit")
        if not (1 <= self.ping <= MAX_TOTAL_SECONDS or self.ping == inf):
            raise ValueError("ping must be from 1 second to 1 hour, or null for none")

    def __str__(self) -> str:
        limits = msgspec.structs.asdict(self).items()
        return ", ".join(f"{name} {seconds:.15g} s" for name, seconds in limits if seconds != inf)


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts` includes the first; `budget` is the share of calls that may be retries."""

    attempts: int = 2
    budget: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= 10:
            raise ValueError("attempts must be from 1 to 10")
        if not 0 <= self.budget <= 1:
            raise ValueError("budget must be from 0 to 1")


class HealthCheckPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Active health checks of a target. Durations are seconds."""

    path: str = "/health"
    interval: float = 10.0
    timeout: float = 2.0
    down_after: int = 3
    up_after: int = 2

    def __post_init__(self) -> None:
        for field in ("interval", "timeout"):
            if not 0 < getattr(self, field) <= 3_600:
                raise ValueError(f"{field} must be above 0 and at most 1 hour")


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    """What a client receives if the service cannot respond and nothing stale is stored.

    `service` is the name of another service, which is sent the same request. While the circuit is open, and unless that
    service responds, `status` and `body` (any JSON value) are returned; not if `has_response` is false. The body is not
    sent with a status of WITHOUT_CONTENT.
    """

    service: str | None = None
    status: int = 200
    body: object = None
    has_response: bool = True

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError("status must be from 200 to 599")

    @property
    def has_content(self) -> bool:
        return self.status not in WITHOUT_CONTENT


class Target(msgspec.Struct, frozen=True):
    """One address of a service: `http://host:port/base`. `weight` is its share relative to the others; 0 disables it.

    A target with a `canary` serves that percentage of the callers, always the same ones, and no others. One that is
    `always_up` is used regardless of failed calls and health checks. `tls` is for https; None: the
    system's authorities verify it.
    """

    url: str
    weight: int = 1
    canary: float = 0.0
    always_up: bool = False
    tls: TlsPolicy | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must be http://host or https://host")
        if parts.query or parts.fragment or parts.username is not None or _VISIBLE.fullmatch(self.url) is None:
            raise ValueError("url must have no user, query or fragment, and be visible ASCII")
        if HOST.fullmatch(parts.hostname) is None:
            raise ValueError("url must name a host of letters, digits and '.', '-', '_': fill a template in first")
        if parts.port == 0:  # raises ValueError when it is out of range
            raise ValueError("url must have a port from 1 to 65535, or none")
        if self.tls is not None and not self.is_https:
            raise ValueError("tls is for https targets")
        if not 0 <= self.weight <= 1_000:
            raise ValueError("weight must be from 0 to 1000")
        if not 0 <= self.canary <= 100:
            raise ValueError("canary must be from 0 to 100")

    @property
    def is_https(self) -> bool:
        return urlsplit(self.url).scheme == "https"


class RoutePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set on a route; a service's own settings are the policy of all paths without a route.

    `rate_limit` and `cors` None mean the gateway's own, `cache` None no caching. `headers` go to the backend, with
    secrets resolved, and so does the access token of `credential`. `hold_off` None: the backend's limits are only
    passed on. `signature` None: what signatures must be by default. `request_log` None: no request is recorded.
    """

    auth: Auth = Auth.REQUIRED
    scopes: tuple[str, ...] = ()
    ip: Addresses = ()
    enabled: bool = True
    rate_limit: RatePolicy | None = None
    timeout: Timeout = Timeout()
    max_concurrency: int = 256
    retries: Retries = Retries()
    headers: tuple[Header, ...] = ()
    forward_authorization: bool = False
    preserve_host: bool = False
    cache: CachePolicy | None = CachePolicy()
    breaker: BreakerPolicy = BreakerPolicy()
    health: HealthCheckPolicy | None = None
    fallback: Fallback | None = None
    outcome: OutcomePolicy | None = None
    hold_off: HoldOffPolicy | None = HoldOffPolicy()
    outbound: OutboundPolicy | None = None
    cost_per_call: float = 0.0
    price: Price | None = None
    cors: CorsPolicy | None = None
    websocket: bool = False
    invalidates: tuple[str, ...] = ()
    idempotency: bool = False
    credential: CredentialPolicy | None = None
    identity: IdentityPolicy | None = None
    signature: SignaturePolicy | None = None
    request_log: RequestLogPolicy | None = RequestLogPolicy()

    @property
    def judges_bodies(self) -> bool:
        """Whether bodies of responses are read for a condition, which only some content codings allow."""
        cache = self.cache
        own = None if cache is None or cache.invalidate_own is None else cache.invalidate_own.when
        found = (self.outcome, None if cache is None else cache.only_if, own)
        return any(conditions.needs_body for conditions in found if conditions is not None)

    @property
    def has_models(self) -> bool:
        """Whether limits of the backend are told apart by the language model that a request names."""
        limits = (self.hold_off, self.outbound)
        return any(Part.MODEL in limit.per for limit in limits if limit is not None)

    @property
    def head_seconds(self) -> float:
        """The longest time until a response's head, if the client is quick: finite."""
        timeout, queue = self.timeout, self.outbound.queue if self.outbound else 0.0
        total = timeout.total if timeout.total != inf else self.retries.attempts * (timeout.connect + timeout.read)
        return queue + total
