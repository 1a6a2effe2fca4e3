"""The settings that a service and a route share: how each is read, laid over another's, and made a policy.

No Django, no I/O. Sections (`cache`, `timeout`) are merged key by key; everything else is replaced whole.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from routing.configuration.faults import ConfigurationError, Fault, Faults
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    duration,
    field_name,
    headers,
    integer,
    json_value,
    list_of,
    nullable,
    number,
    one_of,
    rate,
    record,
    scope,
    tag,
    text,
)
from routing.router.policy import Auth, Fallback, HealthCheckPolicy, Retries, RoutePolicy, Timeout
from routing.router.table import Route

PERMIT_GRACE: Final = 5.0
"""Seconds a probe's permit outlives the longest its call may take."""

_COUNT: Final = integer(1, 1_000)
_SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "timeout": Timeout,
    "retries": Retries,
    "cache": CachePolicy,
    "health": HealthCheckPolicy,
    "fallback": Fallback,
}


def _section(readers: Mapping[str, ValueParser], *, switch: bool = False) -> ValueParser:
    """A mapping of settings; with a `switch`, also `off` (None) and `on` (nothing said beyond that)."""

    def read(value: object) -> dict[str, Any] | None:
        if switch and isinstance(value, bool):
            return {} if value else None
        return record(value, readers)

    return read


def _open_for(value: object) -> dict[str, float]:
    """How long a circuit stays open: a duration, or `{base, factor, max}` for one that grows."""
    if not isinstance(value, dict):
        return {"open_for": duration(value)}
    words = {"base": "open_for", "factor": "open_factor", "max": "open_max"}
    readers: dict[str, ValueParser] = {"base": duration, "factor": number(1, 10), "max": duration}
    return {words[key]: item for key, item in record(value, readers).items()}


def _path(value: object) -> str:
    if not text(value).startswith("/") or not str(value).isascii() or not str(value).isprintable():
        raise ValueError("must be a path: ASCII, starting with '/'")
    return str(value)


TIMEOUT: Final[dict[str, ValueParser]] = {"connect": duration, "read": duration, "total": duration}
RETRIES: Final[dict[str, ValueParser]] = {"attempts": integer(1, 10), "budget": number(0, 1)}
CACHE: Final[dict[str, ValueParser]] = {
    "ttl": duration,
    "scope": one_of(Scope),
    "stale_while_revalidate": duration,
    "stale_if_error": duration,
    "tags": list_of(tag),
    "vary": list_of(field_name),
    "override": boolean,
}
BREAKER: Final[dict[str, ValueParser]] = {
    "failure_threshold": _COUNT,
    "window": duration,
    "open_for": _open_for,
    "success_threshold": _COUNT,
    "failure_rate": nullable(number(0, 1)),
    "minimum_calls": _COUNT,
    "slow_call": nullable(duration),
    "half_open_permits": _COUNT,
}
HEALTH: Final[dict[str, ValueParser]] = {
    "path": _path,
    "interval": duration,
    "timeout": duration,
    "down_after": integer(1, 1_000),
    "up_after": integer(1, 1_000),
}
FALLBACK: Final[dict[str, ValueParser]] = {"status": integer(200, 599), "body": json_value}


def settings(secret: SecretLookup) -> dict[str, ValueParser]:
    """What a service and a route may both set, in the order it is written."""
    return {
        "auth": one_of(Auth),
        "scopes": list_of(scope),
        "rate_limit": rate,
        "timeout": _section(TIMEOUT),
        "max_concurrency": integer(1, 100_000),
        "retries": _section(RETRIES),
        "headers": headers(secret),
        "forward_authorization": boolean,
        "cache": _section(CACHE, switch=True),
        "breaker": _section(BREAKER),
        "health": _section(HEALTH, switch=True),
        "fallback": _section(FALLBACK, switch=True),
        "cost_per_call": number(0, 1_000_000),
        "websocket": boolean,
    }


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """What is said above, over what is said below: sections key by key, everything else whole."""
    both = {
        key: {**below[key], **above[key]}
        for key in below.keys() & above.keys()
        if isinstance(below[key], dict) and isinstance(above[key], dict)
    }
    return {**below, **above, **both}


def policy(said: dict[str, Any]) -> RoutePolicy:
    """What was said, over the defaults. Raises ConfigurationError."""
    faults, asked = Faults(), dict(said)
    for name in [name for name in _SECTIONS if name in said]:
        with faults.at(name):
            asked[name] = built(_SECTIONS[name], said[name])
    with faults.at("breaker"):
        asked["breaker"] = built(BreakerPolicy, said.get("breaker", {}))
    if "headers" in said:
        asked["headers"] = tuple(said["headers"].values())
    faults.raise_if_any()
    return RoutePolicy(**asked)


def with_probe_lease(service: RoutePolicy, routes: Iterable[Route]) -> RoutePolicy:
    """A service's policy, its probes' permits outliving a call to whichever of its routes may take longest.

    A permit that ended before its call would let one probe too many through.
    """
    longest = max(service.timeout.total, *(route.policy.timeout.total for route in routes), 0.0)
    breaker = msgspec.structs.replace(service.breaker, permit_lease=longest + PERMIT_GRACE)
    return msgspec.structs.replace(service, breaker=breaker)


def built(kind: type[Any], said: dict[str, Any] | None) -> Any:
    """A section as its policy, or None where it is switched off. A refusal that names a key is that key's fault."""
    if said is None:
        return None
    fields = {**said, **fields} if isinstance(fields := said.get("open_for"), dict) else said
    try:
        return kind(**fields)
    except ValueError as error:
        word = str(error).split(" ", 1)[0]
        raise ConfigurationError([Fault((), str(error), word if word in said else None)]) from error
