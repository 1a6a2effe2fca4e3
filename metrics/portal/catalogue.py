"""The services that a consumer may call, and what can be called of each. Nothing of backends."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from metrics.portal.allowed import Allowed, required_scopes
from metrics.portal.openapi import METHODS, Operation, operations
from routing.router.table import Service

MAX_OPERATIONS: Final = 500
"""The most operations that the page of a service lists."""


class CatalogueEntry(NamedTuple):
    """`methods` are those of the plan. `missing` are scopes that the service requires and no key can be given here."""

    name: str
    methods: tuple[str, ...]
    is_enabled: bool
    missing: tuple[str, ...]
    operations: tuple[Operation, ...]
    title: str = ""
    forwards_authorization: bool = False

    @property
    def usable_methods(self) -> tuple[str, ...]:
        return self.methods or METHODS

    @property
    def first_call(self) -> Operation:
        """The first call that the portal suggests."""
        found = next((each for each in self.operations if each.is_simple), None)
        if found is not None:
            return found
        method = "GET" if not self.methods or "GET" in self.methods else self.methods[0]
        path = next((each.target for each in self.operations if each.method == method), "/")
        return Operation(method, path.replace("*", ""))


def catalogue(allowed: Allowed, table: Mapping[str, Service], titles: Mapping[str, str]) -> list[CatalogueEntry]:
    """All services of a consumer, by name. `titles` are those of their documents, where they have one."""
    return [entry(table[name], allowed, None, titles.get(name, "")) for name in sorted(allowed.services)]


def entry(
    service: Service, allowed: Allowed, document: Mapping[str, Any] | None = None, title: str = ""
) -> CatalogueEntry:
    """One service, by its OpenAPI document, or else by its routes."""
    methods = allowed.services[service.name]
    found = _routes(service) if document is None else operations(document)
    return CatalogueEntry(
        service.name,
        tuple(sorted(methods)),
        service.policy.enabled and not service.is_out,
        tuple(sorted(required_scopes(service) - allowed.scopes)),
        tuple(each for each in found if not methods or each.method in methods)[:MAX_OPERATIONS],
        title,
        service.policy.forward_authorization,
    )


def _routes(service: Service) -> Iterable[Operation]:
    """Without HEAD where there is GET, which says the same."""
    for route in service.routes:
        methods = route.methods or METHODS[:1]
        for method in methods:
            if method != "HEAD" or "GET" not in methods:
                yield Operation(method, route.path)
