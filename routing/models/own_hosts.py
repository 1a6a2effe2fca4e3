"""The hosts at which the gateway itself is reached. A service that has one receives all requests there: those for
staff's pages, and what callers send to other services.
"""

from collections.abc import Iterable, Iterator

from django.conf import settings

from routing.configuration.faults import Fault
from routing.router.hosts import AllowedHosts, domain_of
from routing.router.table import Service

SHARED = "{!r} is in ALLOWED_HOSTS too: all requests there are for this service, and none for the gateway's own pages"


def reserved_fault(path: tuple[str | int, ...], host: str) -> Fault | None:
    """The fault of a service with this host, if it can be no service's."""
    variable = _reserved_for(host)
    return Fault(path, f"{host!r} is {variable}, and so no service's") if variable else None


def is_own(host: str) -> bool:
    """Whether the gateway may be reached at a host, as far as the environment says."""
    return bool(_reserved_for(host)) or AllowedHosts(settings.ALLOWED_HOSTS).allows(host)


def warnings(services: Iterable[Service]) -> Iterator[Fault]:
    """One for each host of a service that is reserved, or that ALLOWED_HOSTS names other than by a pattern."""
    named = {domain_of(host) for host in settings.ALLOWED_HOSTS}
    for service in services:
        for index, host in enumerate(service.hosts):
            path = ("services", service.name, "hosts", index)
            if fault := reserved_fault(path, host):
                yield fault
            elif domain_of(host) in named:
                yield Fault(path, SHARED.format(host))


def _reserved_for(host: str) -> str:
    reserved = {settings.CONFIG.staff.host: "STAFF_HOST", settings.CONFIG.portal.origin.host: "PORTAL_HOST"}
    return reserved.get(domain_of(host), "")
