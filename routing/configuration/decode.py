"""Decodes a configuration document, given as plain structures, to services. No Django, no I/O."""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from resilience.cache.policy import CALLER_FIELDS
from routing.configuration import fallbacks
from routing.configuration.alerts import decode_alerts
from routing.configuration.consumers import CONSUMER_SECTIONS, check_consumers
from routing.configuration.faults import ConfigurationError, Fault, Faults, Path
from routing.configuration.issuers import EVERY_SERVICE, decode_issuers
from routing.configuration.labels import labels
from routing.configuration.named_services import unknown_services
from routing.configuration.section_parsers import PATHS, SECTIONS, THRESHOLDS, status_page, switchable
from routing.configuration.sections import build, build_policy, merge_settings, setting_parsers, with_probe_lease
from routing.configuration.slo_section import SLO
from routing.configuration.suggestions import inner_keys
from routing.configuration.targets import check_targets, decode_target, with_tls
from routing.configuration.tls_section import tls
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    display,
    host_name,
    list_of,
    mapping,
    mapping_of,
    message_fields,
    method,
    parameters,
    parse_mapping,
    pattern,
    preset_parser,
    string,
    tag,
)
from routing.configuration.webhooks import check_services, decode_webhooks
from routing.presets import shipped
from routing.presets.expand import PRESET, expand
from routing.router.objectives import Objectives
from routing.router.policy import NAME, PathPolicy, RoutePolicy
from routing.router.spelling import folded
from routing.router.table import RoutePattern, Service
from routing.router.thresholds import LATENCY_SHARE, OFF, Thresholds

VERSION: Final = 1
_POST: Final = ("POST",)
RESERVED: Final = frozenset({"debug", "gateway", "reset", "warm"})
"""Names that services may not have: used as a scope, for the gateway itself, or as part of operators' paths."""
_SECTIONS: Final = ("version", "services", "webhooks", "issuers", "alerts", *CONSUMER_SECTIONS)
_OWN_SECTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("paths", PathPolicy()),
    ("thresholds", {}),
    ("slo", None),
    ("tls", None),
)
"""The sections that only services have, and the value of a missing one."""
_INNER_OF_ROUTES: Final = inner_keys(
    {key: SECTIONS[key] for key in ("timeout", "cache", "retries", "breaker", "health")}
)
_INNER: Final = {"url": "targets: [{url: ...}]", "weight": "targets: [{weight: ...}]", **_INNER_OF_ROUTES}
"""Keys that are often written one level too high."""


def _unparsed(value: Any) -> Any:
    return value


def _paths(value: object) -> PathPolicy:
    policy: PathPolicy = build(PathPolicy, mapping_of(PATHS)(value))
    return policy


def service_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """The settings of a service, in canonical order. Its routes are parsed later: they inherit its settings."""
    own: dict[str, ValueParser] = {
        PRESET: preset_parser(shipped.names),
        "targets": list_of(partial(decode_target, secret=secret)),
        "tls": tls(secret),
        "hosts": list_of(host_name),
        "paths": _paths,
        "thresholds": switchable(THRESHOLDS),
        "status_page": status_page,
        "labels": labels,
        "slo": mapping_of(SLO),
        "enabled": boolean,
    }
    return {**own, **setting_parsers(secret), "routes": list_of(_unparsed)}


def route_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """The settings of a route, in canonical order."""
    own: dict[str, ValueParser] = {"path": pattern, "methods": list_of(method), "enabled": boolean}
    return {**own, **setting_parsers(secret), "invalidates": list_of(tag), "idempotency": boolean}


def decode(document: object, secret: SecretLookup, *, is_part: bool = False) -> tuple[Service, ...]:
    """The services of a document `{"version": 1, "services": {...}, ...}`, in its order. Its webhooks, issuers, alerts,
    plans, teams and consumers are checked too.

    `secret` looks up the value of `env:NAME`. `is_part`: there are services beside these, which may be their fallbacks.
    Raises ConfigurationError with all faults.
    """
    faults, services = Faults(), []
    top: dict[str, Any] = {}
    with faults.at():
        top = parse_mapping(document, dict.fromkeys(_SECTIONS, _unparsed), faults)
        _check_version(top, faults)
    items, webhooks = dict[str, Any](), dict[str, Any]()
    with faults.at("services"):
        items = mapping(top.get("services") or {})
    with faults.at("webhooks"):
        webhooks = mapping(top.get("webhooks") or {})
    for name, item in items.items():
        with faults.at("services", name):
            services.append(decode_service(name, item, secret))
    _check_hosts(services, faults)
    decode_webhooks(webhooks, secret, faults)
    decode_issuers(top.get("issuers"), secret, faults)
    decode_alerts(top.get("alerts"), secret, faults)
    check_consumers(top, faults, None if is_part else items)
    if not is_part:
        faults.found += [*fallbacks.check(items), *check_services(webhooks, items), *_unknown_services(top, items)]
    faults.raise_if_any()
    return tuple(services)


def _unknown_services(top: dict[str, Any], services: Iterable[str]) -> list[Fault]:
    issuers, alerts = (top[name] if isinstance(top.get(name), list) else () for name in ("issuers", "alerts"))
    names = set(services)
    return [
        *unknown_services("issuers", issuers, {*names, EVERY_SERVICE}),
        *unknown_services("alerts", alerts, names),
    ]


def _check_version(top: dict[str, Any], faults: Faults) -> None:
    if "version" not in top:
        faults.add((), f"'version: {VERSION}' is required")
    elif top["version"] != VERSION or isinstance(top["version"], bool):
        faults.add(("version",), f"must be {VERSION}, not {display(top['version'])}")


def _check_hosts(services: list[Service], faults: Faults) -> None:
    owners: dict[str, str] = {}
    for service in services:
        for index, name in enumerate(service.hosts):
            if name in owners:
                faults.add(("services", service.name, "hosts", index), f"{name!r} is already a host of {owners[name]}")
            owners.setdefault(name, service.name)


def service_name(value: object) -> str:
    """A service's name. Raises ValueError."""
    if NAME.fullmatch(string(value)) is None:
        raise ValueError(
            f"{display(value)} is not a valid name: a letter, then letters, digits, '-' or '_', at most 63 characters"
        )
    if value in RESERVED:
        raise ValueError(f"{value!r} is a reserved word")
    return str(value)


def decode_service(name: str, value: object, secret: SecretLookup) -> Service:
    """One service, its preset included. Raises ConfigurationError, with paths relative to the service."""
    faults = Faults()
    settings: dict[str, Any] = {}
    policy = RoutePolicy()
    with faults.at():
        service_name(name)
    with faults.at():
        settings = parse_mapping(expand(value), service_parsers(secret), faults, null_is_default=True, inner=_INNER)
        check_targets(settings, faults)
        _check_placeholders(settings, (), faults)
    targets, hosts, routes = (settings.pop(key, ()) for key in ("targets", "hosts", "routes"))
    spelled, thresholds, slo, own_tls = (settings.pop(key, default) for key, default in _OWN_SECTIONS)
    listed = settings.pop("status_page", False)
    named = settings.pop("labels", ())
    with faults.at():
        policy = build_policy(settings)
    with faults.at("thresholds"):
        thresholds = _thresholds(thresholds, policy)
    with faults.at("slo"):
        slo = build(Objectives, slo)
    # If the service's settings have faults, routes inherit the defaults, so that only their own faults are added.
    decoded = _decode_routes(routes, {} if faults.found else settings, spelled, secret, faults)
    faults.raise_if_any()
    policy = with_probe_lease(policy, decoded)
    label = name if listed is True else listed or ""
    own = {"paths": spelled, "thresholds": thresholds, "slo": slo, "public_label": label, "labels": named}
    return Service(name, with_tls(targets, own_tls), hosts, policy, decoded, **own, tls=own_tls)


def _thresholds(settings: dict[str, Any] | None, policy: RoutePolicy) -> Thresholds:
    """None is off. `latency`, unless it is set, follows from the time that the backend has."""
    latency = LATENCY_SHARE * policy.timeout.read
    thresholds: Thresholds = OFF if settings is None else build(Thresholds, {"latency": latency, **settings})
    return thresholds


def _decode_routes(
    items: Iterable[object], inherited: dict[str, Any], spelled: PathPolicy, secret: SecretLookup, faults: Faults
) -> tuple[RoutePattern, ...]:
    routes: list[RoutePattern] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    parsers = route_parsers(secret)
    for index, item in enumerate(items):
        with faults.at("routes", index):
            route = _decode_route(item, inherited, parsers)
            # Patterns that differ only in parameter names match the same paths: the second would never be reached.
            shape = "/".join("{}" if part.startswith("{") else part for part in route.path.split("/"))
            shape = shape if spelled.case_sensitive else folded([shape])[0]
            if (shape, frozenset(route.methods)) in seen:
                raise ConfigurationError([Fault(("path",), f"duplicate route: {route.path}")])
            seen.add((shape, frozenset(route.methods)))
            routes.append(route)
    return tuple(routes)


def decode_route(value: object, inherited: dict[str, Any], secret: SecretLookup) -> RoutePattern:
    """One route, inheriting its service's settings. Raises ConfigurationError, with paths relative to the route."""
    return _decode_route(value, inherited, route_parsers(secret))


def _decode_route(value: object, inherited: dict[str, Any], parsers: dict[str, ValueParser]) -> RoutePattern:
    """The same with the parsers of its settings, which routes of one service share."""
    faults = Faults()
    settings = parse_mapping(value, parsers, faults, null_is_default=True, inner=_INNER_OF_ROUTES)
    if "path" not in mapping(value):
        faults.add((), "a route needs a path")
    path, methods = settings.pop("path", None), settings.pop("methods", ())
    if path is not None:
        _check_placeholders(settings, parameters(path), faults)
    if len(methods) != len(set(methods)):
        faults.add(("methods",), "duplicate method")
    # A disabled service has no enabled routes.
    settings["enabled"] = settings.get("enabled", True) and inherited.get("enabled", True)
    policy = RoutePolicy()
    with faults.at():
        policy = build_policy(merge_settings(inherited, settings))
    if (
        policy.invalidates
        and policy.cache is not None
        and "POST" in policy.cache.methods
        and "POST" in (methods or _POST)
    ):
        message = "a POST in cache.methods is answered from the cache, and must change nothing: set 'cache: off' here"
        faults.add(("invalidates",), message)
    faults.raise_if_any()
    return RoutePattern(str(path), methods, policy)


def _check_placeholders(settings: dict[str, Any], known: Iterable[str], faults: Faults) -> None:
    cache = settings.get("cache") or {}
    own = cache.get("invalidate_own")
    tag_lists: list[tuple[Path, Iterable[str]]] = [
        (("cache", "tags"), cache.get("tags", ())),
        (("cache", "invalidate_own", "tags"), own.tags if own is not None else ()),
        (("invalidates",), settings.get("invalidates", ())),
    ]
    for path, tags in tag_lists:
        for index, template in enumerate(tags):
            for name in sorted(set(parameters(template)) - set(known) - CALLER_FIELDS.keys()):
                faults.add((*path, index), f"{{{name}}} is not a parameter of the route's path")
            if path != ("cache", "tags"):
                for name in message_fields(template):
                    faults.add((*path, index), f"{{{name}}} may be used in cache.tags only")
