"""The route table: which service and route a request is for. Immutable, replaced when the configuration changes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from routing.errors import MethodNotAllowed, UnknownService
from routing.messages.validation import METHODS
from routing.router.hosts import domain_of
from routing.router.policy import RoutePolicy, Target

REST: Final = "*"
"""As a pattern's last segment: any rest of the path, or none."""


class Route(msgspec.Struct, frozen=True):
    """One pattern of a service's paths: `/mailboxes/{user}/messages`, `/files/*`. No methods: any method."""

    path: str
    methods: tuple[str, ...] = ()
    policy: RoutePolicy = RoutePolicy()

    def allows(self, method: str) -> bool:
        return not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)


class Service(msgspec.Struct, frozen=True):
    """A service, its targets, and its routes in the order they are tried.

    `incarnation` tells it from an earlier service of the same name that was removed.
    """

    name: str
    targets: tuple[Target, ...]
    hosts: tuple[str, ...] = ()
    policy: RoutePolicy = RoutePolicy()
    routes: tuple[Route, ...] = ()
    incarnation: int = 0


class Match(msgspec.Struct, frozen=True):
    """A matched request. `path` is the path sent to the backend, as received; `params` are the route's, decoded."""

    service: Service
    policy: RoutePolicy
    path: bytes
    pattern: str = ""
    params: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Node:
    """A segment in the tree of patterns; `ends` are the routes that end here, by rank."""

    fixed: dict[str, "_Node"] = field(default_factory=dict)
    any: "_Node | None" = None
    ends: list[tuple[int, Route]] = field(default_factory=list)
    rest: list[tuple[int, Route]] = field(default_factory=list)


class _Routes:
    """One service's routes as a tree of segments: the cost of a match follows the path, not the routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for rank, route in enumerate(routes):
            self._add(rank, route)

    def _add(self, rank: int, route: Route) -> None:
        node = self._root
        for segment in route.path.strip("/").split("/") if route.path != "/" else ():
            if segment == REST:
                node.rest.append((rank, route))
                return
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.ends.append((rank, route))

    def find(self, segments: list[str]) -> list[Route]:
        """The routes whose pattern matches, in the order of the configuration."""
        ends = list(_reachable(self._root, segments, 0))
        if len(ends) > 1:
            ends.sort(key=_rank)
        return [route for _, route in ends]


def _rank(end: tuple[int, Route]) -> int:
    return end[0]


def _reachable(node: _Node, segments: list[str], depth: int) -> Iterator[tuple[int, Route]]:
    yield from node.rest
    if depth == len(segments):
        yield from node.ends
        return
    fixed = node.fixed.get(segments[depth])
    if fixed is not None:
        yield from _reachable(fixed, segments, depth + 1)
    if node.any is not None and segments[depth]:
        yield from _reachable(node.any, segments, depth + 1)


class RouteTable:
    """All services by name and by host. Equal configurations make equal tables, so that a reload may be skipped."""

    def __init__(self, services: Iterable[Service] = (), version: int = 0) -> None:
        self.version = version
        self.services = {service.name: service for service in services}
        self._hosts = {host.lower(): service for service in self.services.values() for host in service.hosts}
        self._routes = {service.name: _Routes(service.routes) for service in self.services.values() if service.routes}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RouteTable) and self.services == other.services

    __hash__ = None  # type: ignore[assignment] # compared by value, never a key

    @property
    def has_hosts(self) -> bool:
        """Whether any service has a host of its own."""
        return bool(self._hosts)

    def by_host(self, host: str) -> Service | None:
        """The service that is reached under its own host name, with or without a port, if this is one."""
        return self._hosts.get(domain_of(host))

    def match(self, name: str, method: str, path: bytes) -> Match:
        """Service `name`'s first route for `path` (which begins with a slash) that allows `method`.

        Raises UnknownService, or MethodNotAllowed when routes fit the path and none of them the method.
        """
        service = self.services.get(name)
        if service is None:
            raise UnknownService(f"there is no service {name!r}")
        return self.within(service, method, path)

    def within(self, service: Service, method: str, path: bytes) -> Match:
        """The same, for a service already found."""
        routes = self._routes.get(service.name)
        if routes is None:
            return Match(service, service.policy, path)
        segments = segments_of(path)
        fitting = routes.find(segments)
        if not fitting:
            return Match(service, service.policy, path)
        for route in fitting:
            if route.allows(method):
                return Match(service, route.policy, path, route.path, _parameters(route.path, segments))
        raise MethodNotAllowed(f"{method} is not allowed here", service=service.name, allow=_allowed(fitting))

    def methods(self, service: Service, path: bytes) -> tuple[str, ...]:
        """The methods that `service`'s routes for `path` allow; the usual ones if they allow any."""
        routes = self._routes.get(service.name)
        fitting = routes.find(segments_of(path)) if routes is not None else []
        return _allowed(fitting) if fitting and all(route.methods for route in fitting) else METHODS


def segments_of(path: bytes) -> list[str]:
    """A path's segments, decoded: what patterns are held against."""
    if path == b"/":
        return []
    if b"%" not in path:
        return path[1:].decode("utf-8", "backslashreplace").split("/")
    return [unquote_to_bytes(segment).decode("utf-8", "backslashreplace") for segment in path[1:].split(b"/")]


def _parameters(pattern: str, segments: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple([(name, segments[place]) for place, name in _names(pattern)]) if "{" in pattern else ()


@lru_cache(maxsize=4_096)
def _names(pattern: str) -> tuple[tuple[int, str], ...]:
    """A pattern's parameters, and which of its segments each is."""
    segments = enumerate(pattern.strip("/").split("/"))
    return tuple((place, segment[1:-1]) for place, segment in segments if segment.startswith("{"))


def _allowed(routes: list[Route]) -> tuple[str, ...]:
    return tuple(sorted({method for route in routes for method in _methods(route)}))


def _methods(route: Route) -> tuple[str, ...]:
    return (*route.methods, "HEAD") if "GET" in route.methods else route.methods
