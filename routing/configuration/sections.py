"""The settings that services and routes share: their parsers, how a route's override a service's, and their policy.

No Django, no I/O. Sections (`cache`, `timeout`) are merged key by key; any other setting is replaced.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy
from resilience.holdoff.policy import CONFIGURED, HoldOffPolicy
from resilience.outbound.policy import OutboundPolicy
from routing.authentication.signatures.policy import SignaturePolicy
from routing.configuration.cache_section import CACHE
from routing.configuration.credentials import build_credential, check_credential, credential
from routing.configuration.faults import ConfigurationError, Fault, Faults
from routing.configuration.headers import headers
from routing.configuration.networks import build_addresses, ip
from routing.configuration.section_parsers import (
    BREAKER,
    FALLBACK,
    HEALTH,
    HOLD_OFF,
    IDENTITY,
    OUTBOUND,
    OUTCOME,
    PRICE,
    REQUEST_LOG,
    RETRIES,
    SIGNATURE,
    TIMEOUT,
    cors,
    switchable,
)
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    integer,
    list_of,
    mapping_of,
    number,
    one_of,
    rate,
    scope,
)
from routing.consumers.price import build_price
from routing.messages.cors import CorsPolicy
from routing.messages.outcome import OutcomePolicy
from routing.router.identity_policy import IdentityPolicy
from routing.router.policy import (
    Auth,
    Fallback,
    HealthCheckPolicy,
    Retries,
    RoutePolicy,
    Timeout,
)
from routing.router.request_log_policy import RequestLogPolicy
from routing.router.table import RoutePattern

PERMIT_GRACE: Final = 5.0
"""Seconds that a half-open probe's lease lasts beyond the longest possible call."""


def _timeout(**settings: Any) -> Timeout:
    """`total`, unless it is set, is never shorter than `read`: a slow first byte needs one setting."""
    read = settings.get("read", 0.0)
    if "total" not in settings and read > Timeout().total:
        settings["total"] = read
    return Timeout(**settings)


def _fallback(**settings: Any) -> Fallback:
    """Without `status` and `body`, another service is the only fallback."""
    return Fallback(**settings, has_response="service" not in settings or not settings.keys().isdisjoint(_RESPONSE))


def _outbound(**settings: Any) -> OutboundPolicy:
    if "rate" not in settings:
        raise ValueError("an outbound limit needs a rate")
    return OutboundPolicy(**settings)


_RESPONSE: Final = frozenset({"status", "body"})
_SECTIONS: Final[dict[str, Callable[..., object]]] = {
    "timeout": _timeout,
    "retries": Retries,
    "cache": CachePolicy,
    "health": HealthCheckPolicy,
    "fallback": _fallback,
    "outcome": OutcomePolicy,
    "hold_off": HoldOffPolicy,
    "outbound": _outbound,
    "cors": CorsPolicy,
    "credential": build_credential,
    "identity": IdentityPolicy,
    "price": build_price,
    "signature": SignaturePolicy,
    "request_log": RequestLogPolicy,
    "ip": build_addresses,
}


def setting_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """The settings of both services and routes, in the order of the file's canonical form."""
    return {
        "auth": one_of(Auth),
        "scopes": list_of(scope),
        "ip": ip,
        "rate_limit": rate,
        "timeout": mapping_of(TIMEOUT),
        "max_concurrency": integer(1, 100_000),
        "retries": mapping_of(RETRIES),
        "headers": headers(secret),
        "forward_authorization": boolean,
        "preserve_host": boolean,
        "cache": switchable(CACHE),
        "breaker": mapping_of(BREAKER),
        "health": switchable(HEALTH),
        "fallback": switchable(FALLBACK),
        "outcome": switchable(OUTCOME),
        "hold_off": switchable(HOLD_OFF),
        "outbound": switchable(OUTBOUND),
        "cost_per_call": number(0, 1_000_000),
        "cors": cors,
        "websocket": boolean,
        "credential": credential(secret),
        "identity": switchable(IDENTITY),
        "price": switchable(PRICE),
        "signature": mapping_of(SIGNATURE),
        "request_log": switchable(REQUEST_LOG),
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
    faults, fields = Faults(), _with_limits(settings)
    for name in [name for name in _SECTIONS if name in fields]:
        with faults.at(name):
            fields[name] = build(_SECTIONS[name], fields[name])
    with faults.at("breaker"):
        fields["breaker"] = build(BreakerPolicy, settings.get("breaker", {}))
    if "headers" in settings:
        fields["headers"] = tuple(settings["headers"].values())
    if not faults.found:
        check_credential(fields, faults)
    faults.raise_if_any()
    return RoutePolicy(**fields)


def _with_limits(settings: dict[str, Any]) -> dict[str, Any]:
    """The default of `per`: where the backend's limits are configured, each covers a route, not just one call."""
    hold_off: dict[str, Any] | None = settings.get("hold_off", {})
    is_configured = hold_off is not None and "limited" in (settings.get("outcome") or {})
    if not is_configured or "per" in (hold_off or {}):
        return dict(settings)
    return {**settings, "hold_off": {**(hold_off or {}), "per": CONFIGURED}}


def with_probe_lease(service: RoutePolicy, routes: Iterable[RoutePattern]) -> RoutePolicy:
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
    fields = dict(settings)
    if isinstance(fields.get("open_for"), dict):
        fields |= fields.pop("open_for")
    try:
        return kind(**fields)
    except ValueError as error:
        word = str(error).split(" ", 1)[0].partition(".")[0]
        raise ConfigurationError([Fault((), str(error), word if word in settings else None)]) from error
