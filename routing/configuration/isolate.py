"""Decodes each service on its own, so that a faulty one is out of service and does not affect others. No Django, no
I/O.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from routing.configuration.decode import decode_service, service_name
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.headers import reference
from routing.configuration.literals import service_fields
from routing.configuration.values import SecretLookup, host_name
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Service


class Unreadable(NamedTuple):
    """Stands for a service's settings if its rows cannot be read."""

    reason: str


class Decoded(NamedTuple):
    """`services` are all that have a valid name. `invalid` are those with faults other than a missing secret.

    `unnamed` are faults of services that cannot be listed, since their names are invalid.
    """

    services: tuple[Service, ...]
    invalid: frozenset[str]
    unnamed: tuple[str, ...]


SecretFault = Callable[[str], str | None]
"""Why the value of a SecretLookup's name is an earlier one, or None if it is current."""


def decode_each(items: Mapping[str, Any], secret: SecretLookup, outdated: SecretFault = lambda _: None) -> Decoded:
    """The services of a document, by name. A faulty one has `faults` and no targets.

    One with a secret that is `outdated` has `faults` and its targets: it works as long as the earlier value does.
    """
    services: dict[str, Service] = {}
    invalid: set[str] = set()
    unnamed: list[str] = []
    owners: dict[str, str] = {}
    for name, item in items.items():
        try:
            service_name(name)
        except ValueError as error:
            unnamed.append(str(error))
            continue
        service, faults = _decode(name, item, secret, owners)
        if not faults:
            service = msgspec.structs.replace(service, faults=tuple(_outdated_secrets(item, outdated)))
        services[name] = service
        owners.update({host: name for host in service.hosts if host not in owners})
        if not all(fault.unresolved for fault in faults):
            invalid.add(name)
    return Decoded(tuple(services.values()), frozenset(invalid), tuple(unnamed))


def _outdated_secrets(item: Any, outdated: SecretFault) -> Iterator[str]:
    for field in service_fields("", item):
        found = reference(field.value)
        message = None if found is None else outdated(found.name)
        if message is not None:
            yield str(Fault(field.path, message))


def _decode(
    name: str, item: object, secret: SecretLookup, owners: Mapping[str, str]
) -> tuple[Service, tuple[Fault, ...]]:
    if isinstance(item, Unreadable):
        unreadable = (Fault((), item.reason),)
        return _out_of_service(name, None, unreadable, owners), unreadable
    try:
        service = decode_service(name, item, secret)
    except ConfigurationError as error:
        return _out_of_service(name, item, error.faults, owners), error.faults
    conflicts = tuple(
        Fault(("hosts", index), f"{host!r} is already a host of {owners[host]}")
        for index, host in enumerate(service.hosts)
        if host in owners
    )
    return (_out_of_service(name, item, conflicts, owners) if conflicts else service), conflicts


def _out_of_service(name: str, item: object, faults: tuple[Fault, ...], owners: Mapping[str, str]) -> Service:
    """The service as far as its settings can be read, so that its callers receive 503 and not 401 or 404."""
    settings: dict[str, Any] = item if isinstance(item, dict) else {}
    policy = RoutePolicy(auth=_loosest_auth(settings), enabled=settings.get("enabled") is not False, cache=None)
    hosts = tuple(host for host in _hosts(settings.get("hosts")) if host not in owners)
    return Service(name, (), hosts, policy, faults=tuple(map(str, faults)))


_STRICT: Final = (Auth.REQUIRED, Auth.CERTIFICATE, Auth.SIGNATURE)


def _loosest_auth(settings: dict[str, Any]) -> Auth:
    """The least that any of its routes requires; `none` if that cannot be read."""
    routes = settings.get("routes")
    settings_of_routes = routes if isinstance(routes, list | tuple) else ()
    found = [settings.get("auth") or Auth.REQUIRED]
    found += [route["auth"] for route in settings_of_routes if isinstance(route, dict) and route.get("auth")]
    for auth in (Auth.REQUIRED, Auth.OPTIONAL):
        if all(each in (*_STRICT, auth) for each in found):
            return auth
    return Auth.NONE


def _hosts(value: object) -> list[str]:
    hosts = []
    for item in value if isinstance(value, list | tuple) else ():
        try:
            hosts.append(host_name(item))
        except ValueError:
            continue
    return hosts
