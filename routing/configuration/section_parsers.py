"""The parsers of the sections that services and routes share: `cache`, `timeout` and the like. No Django, no I/O."""

from collections.abc import Iterable, Mapping
from math import inf
from typing import Any, Final

from resilience.partition import Part
from routing.authentication.signatures.policy import DERIVED, NonceRule
from routing.configuration.cache_section import CACHE
from routing.configuration.conditions import conditions
from routing.configuration.credentials import CREDENTIAL
from routing.configuration.networks import NETWORKS
from routing.configuration.slo_section import SLO
from routing.configuration.tls_section import TLS
from routing.configuration.values import (
    ValueParser,
    boolean,
    decimal,
    display,
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
    string,
)
from routing.messages.origins import ANY, NULL, origin_pattern
from routing.router.identity_policy import IdentityField
from routing.router.policy import NAME, Spelling, TrailingSlash

_COUNT: Final = integer(1, 1_000)


def switchable(parsers: Mapping[str, ValueParser]) -> ValueParser:
    """A mapping of settings, or `off` (None) or `on` (the defaults)."""
    parse_settings = mapping_of(parsers)

    def parse(value: object) -> dict[str, Any] | None:
        if isinstance(value, bool):
            return {} if value else None
        if value in ("on", "off"):
            raise ValueError(f"must be a mapping of names to values, not {value!r} (write {value} without quotes)")
        settings: dict[str, Any] = parse_settings(value)
        return settings

    return parse


def _plain_text(value: object) -> str:
    text = string(value)
    if not 0 < len(text) <= 500 or not text.isprintable():
        raise ValueError("must be a text of 1 to 500 printable characters")
    return text


MAX_LABEL: Final = 80
"""Characters of a service's name on the status page."""


def status_page(value: object) -> bool | str:
    """Whether a service is on the status page, or its label there."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or not 0 < len(value) <= MAX_LABEL or not value.isprintable() or value.isspace():
        raise ValueError(f"must be a text of 1 to {MAX_LABEL} printable characters, not {display(value)}")
    return value


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


def _share(value: object) -> float:
    """A share of requests, from 0 to 1; null, as infinity, for no threshold."""
    return inf if value is None else float(number(0, 1)(value))


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


def _component(value: object) -> str:
    """A derived component of a request, or a field's name in lower case."""
    return value if isinstance(value, str) and value in DERIVED else field_name(value)


def _tag(value: object) -> str:
    text = string(value)
    if not 0 < len(text) <= 100 or not text.isascii() or not text.isprintable() or {'"', "\\"}.intersection(text):
        raise ValueError("must be 1 to 100 visible ASCII characters without quotes and backslashes")
    return text


def _parts(value: object) -> tuple[Part, ...]:
    """What a limit covers: one name or a list."""
    parts: tuple[Part, ...] = list_of(one_of(Part))(value if isinstance(value, list | tuple) else [value])
    if not parts:
        raise ValueError("must name at least one; all calls of the service are 'service'")
    return parts


def cors(value: object) -> dict[str, Any]:
    """The settings; `off` allows no origin, and `on` those of CORS_ORIGINS."""
    settings = switchable(CORS)(value)
    return {"origins": ()} if settings is None else settings


TIMEOUT: Final[dict[str, ValueParser]] = {
    "connect": duration,
    "read": duration,
    "total": _limit,
    "idle": _limit,
    "stream": _limit,
    "ping": _limit,
}
RETRIES: Final[dict[str, ValueParser]] = {"attempts": integer(1, 10), "budget": number(0, 1)}
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
"""For services only: routes are found by it."""
THRESHOLDS: Final[dict[str, ValueParser]] = {
    "error_rate": _share,
    "client_error_rate": _share,
    "refusal_rate": _share,
    "latency": _limit,
    "hit_rate_drop": _share,
    "minimum_requests": integer(1, 1_000_000),
    "window": duration,
}
"""For services only: their traffic is counted as a whole."""
FALLBACK: Final[dict[str, ValueParser]] = {"service": _service, "status": integer(200, 599), "body": json_value}
OUTCOME: Final[dict[str, ValueParser]] = {
    "limited": conditions,
    "ours": conditions,
    "failed": conditions,
    "callers": conditions,
}
HOLD_OFF: Final[dict[str, ValueParser]] = {"per": _parts, "base": duration, "max": duration}
OUTBOUND: Final[dict[str, ValueParser]] = {"rate": rate, "per": _parts, "queue": duration}
CORS: Final[dict[str, ValueParser]] = {
    "origins": list_of(_origin),
    "methods": list_of(_method_or_any),
    "headers": list_of(_field_or_any),
    "expose": list_of(_field_or_any),
    "credentials": boolean,
    "max_age": duration,
}
SIGNATURE: Final[dict[str, ValueParser]] = {
    "components": list_of(_component),
    "max_age": duration,
    "leeway": duration,
    "nonce": one_of(NonceRule),
    "tag": _tag,
}
IDENTITY: Final[dict[str, ValueParser]] = {
    "fields": list_of(one_of(IdentityField)),
    "header": field_name,
    "audience": _plain_text,
    "issuer": _plain_text,
    "ttl": duration,
}
PRICE: Final[dict[str, ValueParser]] = {"per_request": decimal, "currency": string}
REQUEST_LOG: Final[dict[str, ValueParser]] = {
    "failures": boolean,
    "slow": nullable(duration),
    "sample": number(0, 1),
}

SECTIONS: Final[dict[str, Iterable[str]]] = {
    "paths": PATHS,
    "thresholds": THRESHOLDS,
    "slo": SLO,
    "tls": TLS,
    "ip": NETWORKS,
    "timeout": TIMEOUT,
    "retries": RETRIES,
    "cache": CACHE,
    "breaker": BREAKER,
    "health": HEALTH,
    "fallback": FALLBACK,
    "outcome": OUTCOME,
    "hold_off": HOLD_OFF,
    "outbound": OUTBOUND,
    "cors": CORS,
    "credential": CREDENTIAL,
    "identity": IDENTITY,
    "price": PRICE,
    "signature": SIGNATURE,
    "request_log": REQUEST_LOG,
}
"""The keys of each section, in canonical order."""
