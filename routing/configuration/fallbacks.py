"""Services that name another service as their fallback: checks over all services. No Django, no I/O.

Works on documents as they are written, so that services of the database can be checked with those of a file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from routing.configuration.faults import Fault, Path
from routing.router.policy import NAME

Graph = Mapping[str, tuple[str, ...]]


def check(services: Mapping[str, Any]) -> Iterator[Fault]:
    """A fault for each fallback to a service that is not among these, to itself, or that closes a cycle."""
    named = {name: list(_named(item)) for name, item in services.items()}
    graph = {name: tuple(other for _, other in pairs) for name, pairs in named.items()}
    for name, pairs in named.items():
        for path, other in pairs:
            problem = _problem(name, other, graph)
            if problem:
                yield Fault(("services", name, *path), problem)


def _problem(name: str, other: str, graph: Graph) -> str:
    if other not in graph:
        return f"there is no service {other!r}"
    if other == name:
        return "a service cannot be its own fallback"
    way = _way(other, name, graph)
    return f"the fallbacks form a cycle: {' -> '.join((name, *way))}" if way else ""


def _way(start: str, end: str, graph: Graph) -> tuple[str, ...]:
    """The services from `start` to `end`, each the fallback of the one before; empty if there is no such way."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    for way in ways:  # which grows: a breadth-first search
        if way[-1] == end:
            return way
        for other in graph.get(way[-1], ()):
            if other not in seen:
                seen.add(other)
                ways.append((*way, other))
    return ()


def _named(item: object) -> Iterator[tuple[Path, str]]:
    """The fallbacks that a service and its routes name themselves, and where."""
    if not isinstance(item, dict):
        return
    yield from _of(item, ())
    routes = item.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list | tuple) else ()):
        yield from _of(route, ("routes", index))


def _of(settings: object, path: Path) -> Iterator[tuple[Path, str]]:
    fallback = settings.get("fallback") if isinstance(settings, dict) else None
    name = fallback.get("service") if isinstance(fallback, dict) else None
    if isinstance(name, str) and NAME.fullmatch(name):  # any other is a fault of the service itself
        yield (*path, "fallback", "service"), name
