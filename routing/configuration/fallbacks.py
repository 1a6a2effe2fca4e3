"""Services that name another service as their fallback: checks over all services. No Django, no I/O.

Works on documents as they are written, so that services of the database can be checked with those of a file.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from routing.configuration.faults import Fault, Path
from routing.router.policy import NAME

MAX_TRACED: Final = 100
"""The most faults that show their cycle: finding one takes time in proportion to its length."""
MAX_SHOWN: Final = 12
"""The most services of a cycle that a fault names."""
Graph = Mapping[str, tuple[str, ...]]
_CYCLE: Final = "the fallbacks form a cycle"


def check(services: Mapping[str, Any]) -> Iterator[Fault]:
    """A fault for each fallback to a service that is not among these, to itself, or that closes a cycle."""
    pairs_of = {name: list(_named(item)) for name, item in services.items()}
    cyclic = _cyclic({name: {other for _, other in pairs} for name, pairs in pairs_of.items()})
    traced = 0
    for name, pairs in pairs_of.items():
        for path, other in pairs:
            if other not in pairs_of:
                problem = f"there is no service {other!r}"
            elif other == name:
                problem = "a service cannot be its own fallback"
            elif name in cyclic and other in cyclic:
                traced += 1
                problem = _problem(name, other, cyclic) if traced <= MAX_TRACED else _CYCLE
            else:
                continue
            if problem:
                yield Fault(("services", name, *path), problem)


def named(service: object) -> frozenset[str]:
    """The services that a service and its routes name as fallbacks."""
    return frozenset(other for _, other in _named(service))


def _problem(name: str, other: str, graph: Graph) -> str:
    way = _way(other, name, graph)
    if len(way) > MAX_SHOWN:
        way = [*way[: MAX_SHOWN - 2], "...", way[-1]]
    return f"{_CYCLE}: {' -> '.join((name, *way))}" if way else ""


def _cyclic(graph: Mapping[str, set[str]]) -> dict[str, tuple[str, ...]]:
    """The services that are on a cycle or between two, with their fallbacks among these: what remains after repeatedly
    removing services that have no fallback, and services that are no service's fallback.
    """
    onward = {name: {other for other in others if other in graph and other != name} for name, others in graph.items()}
    backward: dict[str, set[str]] = {name: set() for name in graph}
    for name, others in onward.items():
        for other in others:
            backward[other].add(name)
    pending = list(graph)
    while pending:
        name = pending.pop()
        if name not in onward or (onward[name] and backward[name]):
            continue
        for other in onward.pop(name):
            backward[other].discard(name)
            pending.append(other)
        for other in backward.pop(name):
            onward[other].discard(name)
            pending.append(other)
    return {name: tuple(sorted(onward[name])) for name in onward}


def _way(start: str, end: str, graph: Graph) -> list[str]:
    """The services from `start` to `end`, each the fallback of the one before; empty if there is no such way."""
    before: dict[str, str | None] = {start: None}
    found = [start]
    for name in found:  # which grows: a breadth-first search
        if name == end:
            break
        for other in graph[name]:
            if other not in before:
                before[other] = name
                found.append(other)
    way: list[str] = []
    step: str | None = end if end in before else None
    while step is not None:
        way.append(step)
        step = before[step]
    return way[::-1]


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
