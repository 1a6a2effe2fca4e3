"""What pickers offer: names of services, scopes and tags that the configuration has."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from routing.caller import GATEWAY_SCOPES
from routing.keys.scopes import configured
from routing.models import Route, Service
from routing.rights import Names

_MAX: Final = 500
"""The most suggestions: a longer list does not help to choose."""


_names: Final[ContextVar[Names]] = ContextVar("suggested", default=None)
"""The services of which the author of a form may know."""


@contextmanager
def suggesting(names: Names) -> Iterator[None]:
    """Let suggestions in the block be those of these services."""
    token = _names.set(names)
    try:
        yield
    finally:
        _names.reset(token)


def service_names() -> list[str]:
    return list(_rows(Service).order_by("name").values_list("name", flat=True))


def scope_names() -> list[str]:
    """Services, the gateway's own scopes, and those that services and routes require."""
    if _names.get() is None:
        return sorted({*GATEWAY_SCOPES, *configured()})[:_MAX]
    required = {*_listed(Service, "scopes"), *_listed(Route, "scopes")}
    return sorted({*GATEWAY_SCOPES, *service_names(), *required})[:_MAX]


def tag_names() -> list[str]:
    """Cache tags that services and routes have."""
    sections = [cache for model in (Service, Route) for cache in _values(model, "cache")]
    tags = [tag for cache in sections if isinstance(cache, dict) for tag in cache.get("tags") or ()]
    return sorted({*(tag for tag in tags if isinstance(tag, str)), *_listed(Route, "invalidates")})[:_MAX]


def _listed(model: type[Service | Route], name: str) -> Iterator[str]:
    for value in _values(model, name):
        yield from (item for item in (value if isinstance(value, list) else ()) if isinstance(item, str))


def _values(model: type[Service | Route], name: str) -> Iterator[Any]:
    found: Iterator[Any] = _rows(model).exclude(**{name: None}).values_list(name, flat=True).iterator()
    return found


def _rows(model: type[Service | Route]) -> Any:
    names, path = _names.get(), "name" if model is Service else "service__name"
    return model._default_manager.all() if names is None else model._default_manager.filter(**{f"{path}__in": names})
