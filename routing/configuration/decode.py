"""What a configuration means: from plain structures to services, or every fault at once. No Django, no I/O."""

from collections.abc import Iterable
from typing import Any, Final

from resilience.cache.policy import CALLER_FIELDS
from routing.configuration.faults import ConfigurationError, Fault, Faults, Path
from routing.configuration.sections import built, merge, policy, settings, with_probe_lease
from routing.configuration.values import (
    SecretLookup,
    ValueParser,
    boolean,
    display,
    host,
    integer,
    list_of,
    mapping,
    method,
    number,
    parameters,
    pattern,
    recorded,
    tag,
    text,
)
from routing.router.policy import NAME, RoutePolicy, Target
from routing.router.table import Route, Service

VERSION: Final = 1
RESERVED: Final = frozenset({"debug", "gateway", "reset", "warm"})
"""Words that mean something else where a service's name is written: a right, the gateway, parts of operators' paths."""
TARGET: Final[dict[str, ValueParser]] = {
    "url": text,
    "weight": integer(0, 1_000),
    "canary": number(0, 100),
    "enabled": boolean,
    "always_up": boolean,
}


def _as_is(value: Any) -> Any:
    return value


def service_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """What a service may say, in the order it is written. Its routes are read apart: they need its settings."""
    own: dict[str, ValueParser] = {"targets": list_of(target), "hosts": list_of(host), "enabled": boolean}
    return {**own, **settings(secret), "routes": list_of(_as_is)}


def route_parsers(secret: SecretLookup) -> dict[str, ValueParser]:
    """What a route may say, in the order it is written."""
    own: dict[str, ValueParser] = {"path": pattern, "methods": list_of(method), "enabled": boolean}
    return {**own, **settings(secret), "invalidates": list_of(tag), "idempotency": boolean}


def decode(document: object, secret: SecretLookup) -> tuple[Service, ...]:
    """The services of a whole document, `{"version": 1, "services": {...}}`, in its order.

    `secret` gives the value of an `env:NAME`. Raises ConfigurationError with every fault there is.
    """
    faults, services = Faults(), []
    said: dict[str, Any] = {}
    with faults.at():
        said = recorded(document, {"version": _as_is, "services": _as_is}, faults)
        _check_version(said, faults)
    written: dict[str, Any] = {}
    with faults.at("services"):
        written = mapping(said.get("services") or {})
    for name, item in written.items():
        with faults.at("services", name):
            services.append(service(name, item, secret))
    _check_hosts(services, faults)
    faults.raise_if_any()
    return tuple(services)


def _check_version(said: dict[str, Any], faults: Faults) -> None:
    if "version" not in said:
        faults.add((), f"the file must say 'version: {VERSION}'")
    elif said["version"] != VERSION or isinstance(said["version"], bool):
        faults.add(("version",), f"must be {VERSION}, not {display(said['version'])}")


def _check_hosts(services: list[Service], faults: Faults) -> None:
    owners: dict[str, str] = {}
    for service in services:
        for index, name in enumerate(service.hosts):
            if name in owners:
                faults.add(("services", service.name, "hosts", index), f"{name!r} is already {owners[name]}'s")
            owners.setdefault(name, service.name)


def service_name(value: object) -> str:
    """A service's name. Raises ValueError."""
    if NAME.fullmatch(text(value)) is None:
        raise ValueError(f"{display(value)} is not a name: a letter, then letters, digits, '-' or '_', 63 at most")
    if value in RESERVED:
        raise ValueError(f"{value!r} is a reserved word")
    return str(value)


def service(name: str, value: object, secret: SecretLookup) -> Service:
    """One service. Raises ConfigurationError; its paths are relative to the service."""
    faults = Faults()
    said: dict[str, Any] = {}
    asked = RoutePolicy()
    with faults.at():
        service_name(name)
    with faults.at():
        said = recorded(value, service_parsers(secret), faults, null_is_default=True)
        _check_targets(said, faults)
        _check_placeholders(said, (), faults)
    targets, hosts, written = (said.pop(key, ()) for key in ("targets", "hosts", "routes"))
    with faults.at():
        asked = policy(said)
    # Routes over settings at fault are still read, over the defaults, so that their own faults are told too.
    routes = _routes(written, {} if faults.found else said, secret, faults)
    faults.raise_if_any()
    return Service(name, targets, hosts, with_probe_lease(asked, routes), routes)


def target(value: object) -> Target:
    """One target. One that is switched off stays known, and gets no calls."""
    faults = Faults()
    said = recorded(value, TARGET, faults, null_is_default=True)
    faults.raise_if_any()
    if "url" not in said:
        raise ValueError("a target needs a url")
    weight = said.get("weight", 1) if said.pop("enabled", True) else 0
    read: Target = built(Target, {**said, "weight": weight})
    return read


def _check_targets(said: dict[str, Any], faults: Faults) -> None:
    targets = said.get("targets", ())
    if not targets and not any(fault.path[:1] == ("targets",) for fault in faults.found):
        faults.add((), "a service needs at least one target")
    for index, target in enumerate(targets):
        if target.url in {other.url for other in targets[:index]}:
            faults.add(("targets", index), "the same target twice")


def _routes(
    written: Iterable[object], below: dict[str, Any], secret: SecretLookup, faults: Faults
) -> tuple[Route, ...]:
    routes: list[Route] = []
    seen: set[tuple[str, frozenset[str]]] = set()
    for index, item in enumerate(written):
        with faults.at("routes", index):
            read = route(item, below, secret)
            # Parameters' names make no difference to what fits: the second of two such would never be reached.
            shape = "/".join("{}" if part.startswith("{") else part for part in read.path.split("/"))
            if (shape, frozenset(read.methods)) in seen:
                raise ConfigurationError([Fault(("path",), f"the same route twice: {read.path}")])
            seen.add((shape, frozenset(read.methods)))
            routes.append(read)
    return tuple(routes)


def route(value: object, below: dict[str, Any], secret: SecretLookup) -> Route:
    """One route, laid over what its service says. Raises ConfigurationError; its paths are relative to the route."""
    faults = Faults()
    said = recorded(value, route_parsers(secret), faults, null_is_default=True)
    if "path" not in mapping(value):
        faults.add((), "a route needs a path")
    path, methods = said.pop("path", None), said.pop("methods", ())
    if path is not None:
        _check_placeholders(said, parameters(path), faults)
    if len(methods) != len(set(methods)):
        faults.add(("methods",), "the same method twice")
    # An operator who switches a service off means its routes too.
    said["enabled"] = said.get("enabled", True) and below.get("enabled", True)
    asked = RoutePolicy()
    with faults.at():
        asked = policy(merge(below, said))
    faults.raise_if_any()
    return Route(str(path), methods, asked)


def _check_placeholders(said: dict[str, Any], known: Iterable[str], faults: Faults) -> None:
    places: list[tuple[Path, Iterable[str]]] = [
        (("cache", "tags"), (said.get("cache") or {}).get("tags", ())),
        (("invalidates",), said.get("invalidates", ())),
    ]
    for place, tags in places:
        for index, written in enumerate(tags):
            for name in sorted(set(parameters(written)) - set(known) - CALLER_FIELDS.keys()):
                faults.add((*place, index), f"{{{name}}} is not in the route's path")
