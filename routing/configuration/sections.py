"""The settings that services and routes share: their parsers, how a route's override a service's, and their policy.

No Django, no I/O. Sections (`cache`, `timeout`) are merged key by key; any other setting is replaced.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, Final

import msgspec

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from routing.configuration.faults import ConfigurationError, Fault, Faults
from routing.configuration.headers import headers
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    duration,
    field_name,
    integer,
    json_value,
    list_of,
    mapping_of,
    method,
    nullable,
    number,
    one_of,
    rate,
    scope,
    string,
    tag,
)
from routing.messages.cors import CorsPolicy
from routing.messages.origins import ANY, NULL, origin_pattern
from routing.router.policy import (
    NAME,
    Auth,
    Fallback,
    HealthCheckPolicy,
    Retries,
    RoutePolicy,
    Spelling,
    Timeout,
    TrailingSlash,
)
from routing.router.table import Route

PERMIT_GRACE: Final = 5.0
"""Seconds that a half-open probe's lease lasts beyond the longest possible call."""

_COUNT: Final = integer(1, 1_000)


def _timeout(**settings: Any) -> Timeout:
    """`total`, unless it is set, is never shorter than `read`: a slow first byte needs one setting."""
    read = settings.get("read", 0.0)
    if "total" not in settings and read > Timeout().total:
        settings["total"] = read
    return Timeout(**settings)


def _fallback(**settings: Any) -> Fallback:
    """Without `status` and `body`, another service is the only fallback."""
    return Fallback(**settings, has_response="service" not in settings or not settings.keys().isdisjoint(_RESPONSE))


_RESPONSE: Final = frozenset({"status", "body"})
_SECTIONS: Final[dict[str, Callable[..., msgspec.Struct]]] = {
    "timeout": _timeout,
    "retries": Retries,
    "cache": CachePolicy,
    "health": HealthCheckPolicy,
    "fallback": _fallback,
    "cors": CorsPolicy,
}


def _switchable(parsers: Mapping[str, ValueParser]) -> ValueParser:
    """A mapping of settings, or `off` (None) or `on` (the defaults)."""
    parse_settings = mapping_of(parsers)

    def parse(value: object) -> dict[str, Any] | None:
        if isinstance(value, bool):
            return {} if value else None
        settings: dict[str, Any] = parse_settings(value)
        return settings

    return parse


def _open_for(value: object) -> dict[str, float]:
    """How long a circuit stays open: a duration, or `{base, factor, max}` for exponential growth."""
    if not isinstance(value, dict):
        return {"open_for": duration(value)}
    fields = {"base": "open_for", "factor": "open_factor", "max": "open_max"}
    parse = mapping_of({"base": duration, "factor": number(1, 10), "max": duration})
    return {fields[key]: item for key, item in parse(value).items()}


def _limit(value: object) -> float:
    """A time limit in seconds; null, as infinity, for none."""
    return inf if value is None else float(duration(value))


def _path(value: object) -> str:
    if not string(value).startswith("/") or not str(value).isascii() or not str(value).isprintable():
        raise ValueError("must be a path: ASCII, starting with '/'")
    return str(value)


def _service(value: object) -> str:
    if NAME.fullmatch(string(value)) is None:
        raise ValueError("must be the name of a service")
    return str(value)


def _origin(value: object) -> str:
    """A pattern of origins. YAML reads an unquoted `null`, the origin, as no value."""
    return origin_pattern(NULL if value is None else string(value))


def _method_or_any(value: object) -> str:
    return ANY if value == ANY else method(value)


def _field_or_any(value: object) -> str:
    return ANY if value == ANY else field_name(value)


def _cors(value: object) -> dict[str, Any]:
    """`off` allows no origin; `on` those of CORS_ORIGINS."""
    settings = _switchable(CORS)(value)
    return {"origins": ()} if settings is None else settings


TIMEOUT: Final[dict[str, ValueParser]] = {
    "connect": duration,
    "read": duration,
    "total": _limit,
    "idle": _limit,
    "stream": _limit,
}
RETRIES: Final[dict[str, ValueParser]] = {"attempts": integer(1, 10), "budget": number(0, 1)}
CACHE: Final[dict[str, ValueParser]] = {
    "ttl": duration,
    "scope": one_of(Scope),
    "stale_while_revalidate": duration,
    "stale_if_error": duration,
    "tags": list_of(tag),
    "vary": list_of(field_name),
    "override": boolean,
    "credentials": nullable(list_of(field_name)),
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
PATHS: Final[dict[str, ValueParser]] = {
    "encoded_slash": one_of(Spelling),
    "empty_segments": one_of(Spelling),
    "case_sensitive": boolean,
    "trailing_slash": one_of(TrailingSlash),
}
"""Of services only: routes are found by it."""
FALLBACK: Final[dict[str, ValueParser]] = {"service": _service, "status": integer(200, 599), "body": json_value}
CORS: Final[dict[str, ValueParser]] = {
    "origins": list_of(_origin),
    "methods": list_of(_method_or_any),
    "headers": list_of(_field_or_any),
    "expose": list_of(_field_or_any),
    "credentials": boolean,
    "max_age": duration,
}


def setting_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """The settings of both services and routes, in the order of the file's canonical form."""
    return {
        "auth": one_of(Auth),
        "scopes": list_of(scope),
        "rate_limit": rate,
        "timeout": mapping_of(TIMEOUT),
        "max_concurrency": integer(1, 100_000),
        "retries": mapping_of(RETRIES),
        "headers": headers(secret),
        "forward_authorization": boolean,
        "preserve_host": boolean,
        "cache": _switchable(CACHE),
        "breaker": mapping_of(BREAKER),
        "health": _switchable(HEALTH),
        "fallback": _switchable(FALLBACK),
        "cost_per_call": number(0, 1_000_000),
        "cors": _cors,
        "websocket": boolean,
    }


def merge_settings(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """`override` on top of `base`: sections are merged key by key, any other setting is replaced."""
    sections = {
        key: {**base[key], **override[key]}
        for key in base.keys() & override.keys()
        if isinstance(base[key], dict) and isinstance(override[key], dict)
    }
    return {**base, **override, **sections}


def build_policy(settings: dict[str, Any]) -> RoutePolicy:
    """The policy for parsed settings. Raises ConfigurationError."""
    faults, fields = Faults(), dict(settings)
    for name in [name for name in _SECTIONS if name in settings]:
        with faults.at(name):
            fields[name] = build(_SECTIONS[name], settings[name])
    with faults.at("breaker"):
        fields["breaker"] = build(BreakerPolicy, settings.get("breaker", {}))
    if "headers" in settings:
        fields["headers"] = tuple(settings["headers"].values())
    faults.raise_if_any()
    return RoutePolicy(**fields)


def with_probe_lease(service: RoutePolicy, routes: Iterable[Route]) -> RoutePolicy:
    """The service's policy with a probe lease that outlasts the longest call of any of its routes.

    If a lease expired during its call, one probe too many would be admitted.
    """
    longest = max(service.head_seconds, *(route.policy.head_seconds for route in routes), 0.0)
    breaker = msgspec.structs.replace(service.breaker, permit_lease=longest + PERMIT_GRACE)
    return msgspec.structs.replace(service, breaker=breaker)


def build(kind: Callable[..., Any], settings: dict[str, Any] | None) -> Any:
    """The policy `kind` for a section's settings, or None if the section is off.

    Raises ConfigurationError, at the key with which the policy's error message begins, if it begins with one.
    """
    if settings is None:
        return None
    open_for = settings.get("open_for")
    fields = {**settings, **open_for} if isinstance(open_for, dict) else settings
    try:
        return kind(**fields)
    except ValueError as error:
        word = str(error).split(" ", 1)[0]
        raise ConfigurationError([Fault((), str(error), word if word in settings else None)]) from error
