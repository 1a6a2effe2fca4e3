"""What in a valid configuration may not be what its author meant."""

from collections.abc import Iterable, Iterator

from resilience.cache.policy import Scope
from routing.configuration.faults import Fault, Path
from routing.router.policy import Auth, RoutePolicy
from routing.router.table import Service

UNKNOWN_CREDENTIALS = (
    "anyone may call this, and responses are cached: name the header fields by which the service identifies its "
    "own users in 'cache.credentials' ([] if there are none), or set 'cache: {scope: shared}' or 'cache: off'"
)


def warnings(services: Iterable[Service]) -> Iterator[Fault]:
    """One warning for each service at most, at the service or at its first route that has what is warned of."""
    for service in services:
        path = _first_unclear(service)
        if path is not None:
            yield Fault(path, UNKNOWN_CREDENTIALS)


def _first_unclear(service: Service) -> Path | None:
    """Where callers whom the gateway does not know may have credentials that it does not know either."""
    path: Path = ("services", service.name)
    if _is_unclear(service.policy):
        return path
    return next(
        ((*path, "routes", index) for index, route in enumerate(service.routes) if _is_unclear(route.policy)), None
    )


def _is_unclear(policy: RoutePolicy) -> bool:
    cache = policy.cache
    if policy.auth is Auth.REQUIRED or cache is None:
        return False
    return cache.scope is not Scope.SHARED and cache.credentials is None
