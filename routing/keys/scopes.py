"""Which scopes a new or changed API key may have."""

from collections.abc import Iterable
from typing import Final

from routing.caller import EVERY_SERVICE, GATEWAY_SCOPES
from routing.models import Route, Service

CONFIG_READ: Final = "config:read"
CONFIG_WRITE: Final = "config:write"


def require_known(scopes: Iterable[str]) -> None:
    """Raise ValueError if a scope is none of the gateway's, no service's name and required by no service or route."""
    unknown = set(scopes) - {EVERY_SERVICE, *GATEWAY_SCOPES, *configured()}
    if unknown:
        names = ", ".join(map(repr, sorted(unknown)))
        raise ValueError(
            f"unknown scope {names}: a scope is the name of a service, a scope that a service or route requires, "
            f"{EVERY_SERVICE}, or one of {', '.join(GATEWAY_SCOPES)}"
        )


def configured() -> Iterable[str]:
    """The names of services, and the scopes that services and routes require. Some may be there twice."""
    yield from Service.objects.values_list("name", flat=True)
    for model in (Service, Route):
        for required in model.objects.exclude(scopes=None).values_list("scopes", flat=True):
            # A corrupt row may contain anything.
            yield from filter(lambda item: isinstance(item, str), required if isinstance(required, list) else ())
