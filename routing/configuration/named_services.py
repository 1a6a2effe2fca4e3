"""The `services` of an item of the configuration, such as an issuer or an alert: one name, or a list of them."""

from collections.abc import Iterable, Mapping
from typing import Any

from routing.configuration.faults import Fault


def named_services(settings: Any) -> tuple[str, ...]:
    """The services that an item names. Invalid names are left out: decoding reports them."""
    named = settings.get("services") if isinstance(settings, Mapping) else None
    items = named if isinstance(named, list | tuple) else [named]
    return tuple(name for name in items if isinstance(name, str))


def unknown_services(section: str, items: Iterable[Any], services: Iterable[str]) -> list[Fault]:
    """A fault for each service that an item of the section names and that is not among `services`."""
    known = set(services)
    return [
        Fault((section, index, "services"), f"there is no service {name!r}")
        for index, item in enumerate(items)
        for name in named_services(item)
        if name not in known
    ]
