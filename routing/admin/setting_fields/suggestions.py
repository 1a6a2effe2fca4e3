"""What pickers offer: names of services, scopes and tags that the configuration has."""

from collections.abc import Iterator
from typing import Any, Final

from routing.caller import GATEWAY_SCOPES
from routing.keys.scopes import configured
from routing.models import Route, Service

_MAX: Final = 500
"""More would not help who picks one."""


def service_names() -> list[str]:
    return list(Service.objects.order_by("name").values_list("name", flat=True))


def scope_names() -> list[str]:
    """Services, the gateway's own scopes, and those that services and routes require."""
    return sorted({*GATEWAY_SCOPES, *configured()})[:_MAX]


def tag_names() -> list[str]:
    """Cache tags that services and routes have."""
    sections = [cache for model in (Service, Route) for cache in _values(model, "cache")]
    tags = [tag for cache in sections if isinstance(cache, dict) for tag in cache.get("tags") or ()]
    return sorted({*(tag for tag in tags if isinstance(tag, str)), *_listed(Route, "invalidates")})[:_MAX]


def _listed(model: type[Service | Route], name: str) -> Iterator[str]:
    for value in _values(model, name):
        yield from (item for item in (value if isinstance(value, list) else ()) if isinstance(item, str))


def _values(model: type[Service | Route], name: str) -> Iterator[Any]:
    return model._default_manager.exclude(**{name: None}).values_list(name, flat=True).iterator()
