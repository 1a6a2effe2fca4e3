"""What one route of one service asks for: the frozen settings the request's way reads, already validated."""

import re
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import msgspec

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy
from resilience.ratelimit.policy import RatePolicy
from routing.http import Header

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
"""A service's name: a path segment, a scope and a part of keys and channel names."""


_VISIBLE: Final = re.compile(r"[!-~]+")


class Auth(StrEnum):
    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds to open a connection, between two pieces of an answer, and for the whole call."""

    connect: float = 2.0
    read: float = 10.0
    total: float = 30.0

    def __post_init__(self) -> None:
        for field in ("connect", "read", "total"):
            if not 0 < getattr(self, field) <= 3_600:
                raise ValueError(f"{field} must be above 0 and at most 1 hour")


class Retries(msgspec.Struct, frozen=True, kw_only=True):
    """`attempts` includes the first; `budget` is the share of calls that may be repeats."""

    attempts: int = 2
    budget: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= 10:
            raise ValueError("attempts must be from 1 to 10")
        if not 0 <= self.budget <= 1:
            raise ValueError("budget must be from 0 to 1")


class HealthCheckPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a target is asked whether it is well. Durations are seconds."""

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
    """What to answer when the circuit is open; `body` is any JSON value."""

    status: int = 200
    body: object = None

    def __post_init__(self) -> None:
        if not 200 <= self.status <= 599:
            raise ValueError("status must be from 200 to 599")


class Target(msgspec.Struct, frozen=True):
    """One address of a service: `http://host:port/base`. `weight` is its share beside the others; 0 rests it.

    One with a `canary` serves that percentage of the callers, always the same ones, and no others. One that is
    `always_up` is used whatever its calls and checks say: the operator knows better.
    """

    url: str
    weight: int = 1
    canary: float = 0.0
    always_up: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must be http://host or https://host")
        if parts.query or parts.fragment or parts.username is not None or _VISIBLE.fullmatch(self.url) is None:
            raise ValueError("url must have no user, query or fragment, and be visible ASCII")
        parts.port  # noqa: B018 - raises ValueError when it is out of range
        if not 0 <= self.weight <= 1_000:
            raise ValueError("weight must be from 0 to 1000")
        if not 0 <= self.canary <= 100:
            raise ValueError("canary must be from 0 to 100")


class RoutePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that may be set on a route; a service's own settings are the policy of its unnamed routes.

    `rate_limit` None is the gateway's own, `cache` None is never. `headers` are sent to the backend, resolved.
    """

    auth: Auth = Auth.REQUIRED
    scopes: tuple[str, ...] = ()
    enabled: bool = True
    rate_limit: RatePolicy | None = None
    timeout: Timeout = Timeout()
    max_concurrency: int = 256
    retries: Retries = Retries()
    headers: tuple[Header, ...] = ()
    forward_authorization: bool = False
    cache: CachePolicy | None = CachePolicy()
    breaker: BreakerPolicy = BreakerPolicy()
    health: HealthCheckPolicy | None = None
    fallback: Fallback | None = None
    cost_per_call: float = 0.0
    websocket: bool = False
    invalidates: tuple[str, ...] = ()
    idempotency: bool = False
