"""The route table: which service and route a request is for. Immutable, replaced when the configuration changes."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from routing.alerts.policy import Alert
from routing.authentication.issuer_policy import Issuer
from routing.authentication.revocations import Revocation
from routing.authentication.signatures.keys import SigningKey, SigningKeys
from routing.errors import BadRequest, MethodNotAllowed, UnknownService
from routing.messages.validation import ASTERISK, METHODS
from routing.router import spelling
from routing.router.hosts import domain_of
from routing.router.objectives import Objectives
from routing.router.policy import Auth, PathPolicy, RoutePolicy, Target
from routing.router.route_tree import RoutePattern, RouteTree, allowed_methods, parameters
from routing.router.spelling import Segments
from routing.router.strictest import strictest
from routing.router.thresholds import Thresholds
from routing.tls.policy import TlsPolicy
from routing.webhooks.policy import Webhook

__all__ = ["Match", "RoutePattern", "RouteTable", "Service"]

MAX_COMBINED: Final = 4_096
"""The most combinations of routes that one table keeps: bounds their memory."""

_Found = tuple[RoutePattern | None, Segments]
"""A reading of a path, and the route that it matches."""


class Service(msgspec.Struct, frozen=True):
    """A service, its targets, and its routes in the order they are tried.

    `incarnation` tells it from an earlier service of the same name that was removed. `faults` are those of its current
    configuration, if that cannot be loaded. It then either continues with its last valid configuration, or is out of
    service and has no targets. `public_label` is its name on the status page, empty if it is not listed there.
    `labels` are names and values for staff. `tls` is already part of those of its https targets.
    """

    name: str
    targets: tuple[Target, ...]
    hosts: tuple[str, ...] = ()
    policy: RoutePolicy = RoutePolicy()
    routes: tuple[RoutePattern, ...] = ()
    incarnation: int = 0
    paths: PathPolicy = PathPolicy()
    faults: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()
    public_label: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    slo: Objectives | None = None
    tls: TlsPolicy | None = None

    @property
    def is_out(self) -> bool:
        """Whether it is out of service: every request is answered 503."""
        return bool(self.faults) and not self.targets


class Match(msgspec.Struct, frozen=True):
    """A matched request. `path` is the path sent to the backend, as received; `params` are the route's, decoded.

    `resource` is the path in the form that all its spellings share. `also`: the patterns of other routes whose
    restrictions are part of `policy`, since some servers read the path as theirs; empty for the service's own settings.
    """

    service: Service
    policy: RoutePolicy
    path: bytes
    pattern: str = ""
    params: tuple[tuple[str, str], ...] = ()
    resource: bytes = b""
    also: tuple[str, ...] = ()


class RouteTable:
    """All services by name and by host, and the webhooks by name. Equal configurations make equal tables, so that a
    reload may be skipped.

    `has_members`: whether there is anybody to use the portal. `is_loaded` is false only for NOT_LOADED.
    """

    def __init__(
        self,
        services: Iterable[Service] = (),
        version: int = 0,
        *,
        webhooks: Iterable[Webhook] = (),
        issuers: Iterable[Issuer] = (),
        revocations: Iterable[Revocation] = (),
        has_members: bool = False,
        signing_keys: Iterable[SigningKey] = (),
        alerts: Iterable[Alert] = (),
        is_loaded: bool = True,
    ) -> None:
        self.version = version
        self.is_loaded = is_loaded
        self.webhooks = {webhook.name: webhook for webhook in webhooks}
        self.issuers = tuple(issuers)
        self.revocations = tuple(revocations)
        self.has_members = has_members
        self.signing_keys = SigningKeys(signing_keys)
        self.alerts = tuple(alerts)
        self.services = {service.name: service for service in services}
        self._hosts = {host.lower(): service for service in self.services.values() for host in service.hosts}
        self._trees = {
            service.name: RouteTree(service.routes, service.paths)
            for service in self.services.values()
            if service.routes
        }
        self._combined: dict[tuple[int, ...], RoutePolicy] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RouteTable) and self._parts == other._parts

    @property
    def _parts(self) -> tuple[object, ...]:
        own = (self.services, self.webhooks, self.issuers, self.revocations, self.has_members)
        return (*own, self.signing_keys.keys, self.alerts)

    __hash__ = None  # type: ignore[assignment] # compared by value, never a key

    @property
    def has_hosts(self) -> bool:
        """Whether any service has a host of its own."""
        return bool(self._hosts)

    def by_host(self, host: str) -> Service | None:
        """The service that is reached under its own host name, with or without a port, if this is one."""
        return self._hosts.get(domain_of(host))

    def match(self, name: str, method: str, path: bytes) -> Match:
        """Service `name`'s first route for `path` (which begins with a slash, or is empty) that allows `method`.

        Raises UnknownService, BadRequest, or MethodNotAllowed when routes fit the path and none of them the method.
        """
        service = self.services.get(name)
        if service is None:
            raise UnknownService(f"there is no service {name!r}")
        return self.within(service, method, path)

    def within(self, service: Service, method: str, path: bytes) -> Match:
        """The same, for a service already found. Raises BadRequest for a path that the service does not accept."""
        tree = self._trees.get(service.name)
        try:
            if tree is None:
                spelling.check(path, service.paths)
                return Match(service, service.policy, path, resource=spelling.normalized(path, service.paths))
            readings = _readings(service, path)
        except BadRequest as error:
            error.service = service.name
            raise
        resource = spelling.normalized(path, service.paths)
        found = [(_first(service, routes, method), segments) for segments in readings for routes in tree.find(segments)]
        if len(found) > 1:
            return self._combine(service, path, resource, found)
        route, segments = found[0]
        if route is None:
            return Match(service, service.policy, path, resource=resource)
        return Match(service, route.policy, path, route.path, parameters(route.path, segments), resource)

    def methods(self, service: Service, path: bytes) -> tuple[str, ...]:
        """The methods that `service`'s routes for `path` allow in every reading; the usual ones if they allow any.

        Raises BadRequest.
        """
        tree = self._trees.get(service.name)
        if tree is None:
            return METHODS
        found = [routes for segments in _readings(service, path) for routes in tree.find(segments)]
        limited = [
            set(allowed_methods(routes)) for routes in found if routes and all(route.methods for route in routes)
        ]
        return tuple(sorted(set.intersection(*limited))) if limited else METHODS

    def _combine(self, service: Service, path: bytes, resource: bytes, found: Sequence[_Found]) -> Match:
        """The match of a path with several readings: the first route found, with the restrictions of all."""
        route, segments = next((one for one in found if one[0] is not None), found[0])
        others: list[RoutePattern | None] = []
        named: dict[str, str] = {}
        for other, its_segments in reversed(found):
            if other is not None:
                named.update(parameters(other.path, its_segments))
            if other is not route and not any(other is known for known in others):
                others.insert(0, other)
        if route is None:
            return Match(service, service.policy, path, resource=resource)
        return Match(
            service,
            self._strictest(service, [route, *others]),
            path,
            route.path,
            tuple({**named, **dict(parameters(route.path, segments))}.items()),
            resource,
            tuple(other.path if other else "" for other in others),
        )

    def _strictest(self, service: Service, routes: list[RoutePattern | None]) -> RoutePolicy:
        """One policy object for each set of routes: steps and grants are memoised by it. Raises BadRequest."""
        policies = [route.policy if route else service.policy for route in routes]
        if all(policy == policies[0] for policy in policies):
            return policies[0]
        key = tuple(map(id, policies))
        policy = self._combined.get(key)
        if policy is None:
            if len(self._combined) >= MAX_COMBINED:
                raise BadRequest("the path can be read in several ways")
            policy = self._combined[key] = strictest(policies)
        return policy


NOT_LOADED: Final = RouteTable(is_loaded=False)
"""The table of a worker that has not loaded any configuration yet: every request is answered 503."""


def _readings(service: Service, path: bytes) -> list[spelling.Segments]:
    """Raises BadRequest. `*`, of OPTIONS, is the server as a whole: only a route for all paths holds for it."""
    return [("", "*")] if path == ASTERISK else spelling.readings(path or b"/", service.paths)


def _first(service: Service, routes: list[RoutePattern], method: str) -> RoutePattern | None:
    """The first route that allows the method; None without routes. Raises MethodNotAllowed."""
    for route in routes:
        if route.allows(method):
            return route
    if routes:
        allow, auth = allowed_methods(routes), _auth({route.policy.auth for route in routes})
        raise MethodNotAllowed(f"{method} is not allowed here", service=service.name, allow=allow, auth=auth)
    return None


def _auth(found: set[Auth]) -> Auth:
    """What a caller must show to learn which methods a path has: nothing where no route asks for a credential."""
    if found <= {Auth.NONE, Auth.OPTIONAL}:
        return Auth.OPTIONAL if Auth.OPTIONAL in found else Auth.NONE
    return Auth.REQUIRED
