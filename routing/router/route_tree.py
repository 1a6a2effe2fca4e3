"""A service's routes as a tree of segments: the cost of a match depends on the path, not on the number of routes."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import msgspec

from routing.router.policy import PathPolicy, RoutePolicy, TrailingSlash
from routing.router.spelling import Segments, folded

REST: Final = "*"
"""As a pattern's last segment: any rest of the path, or none."""


class RoutePattern(msgspec.Struct, frozen=True):
    """One pattern of a service's paths: `/mailboxes/{user}/messages`, `/files/*`. No methods: any method."""

    path: str
    methods: tuple[str, ...] = ()
    policy: RoutePolicy = RoutePolicy()

    def allows(self, method: str) -> bool:
        return not self.methods or method in self.methods or (method == "HEAD" and "GET" in self.methods)


@dataclass(slots=True)
class _Node:
    """A segment in the tree of patterns; `ends` are the routes that end here, by rank."""

    fixed: dict[str, "_Node"] = field(default_factory=dict)
    any: "_Node | None" = None
    ends: list[tuple[int, RoutePattern]] = field(default_factory=list)
    rest: list[tuple[int, RoutePattern]] = field(default_factory=list)


class RouteTree:
    """Routes are tried in the order in which they are given."""

    def __init__(self, routes: Iterable[RoutePattern], policy: PathPolicy) -> None:
        self._root = _Node()
        self._case_sensitive = policy.case_sensitive
        self._ignores_slash = policy.trailing_slash is not TrailingSlash.STRICT
        for rank, route in enumerate(routes):
            self._add(rank, route)

    def _add(self, rank: int, route: RoutePattern) -> None:
        node = self._root
        for segment in pattern_segments(route.path):
            if segment == REST:
                node.rest.append((rank, route))
                return
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.fixed.setdefault(self._comparable(segment), _Node())
        node.ends.append((rank, route))

    def _comparable(self, segment: str) -> str:
        """A segment of a pattern as the readings of a path have it: every path is also read with composed characters,
        however they are written.
        """
        return unicodedata.normalize("NFC", segment) if self._case_sensitive else folded([segment])[0]

    def find(self, segments: Segments) -> list[list[RoutePattern]]:
        """The routes whose pattern matches, in their order.

        Two lists where a trailing slash may be ignored and both forms match: a request must comply with both.
        """
        exact = self._matching(segments)
        if not self._ignores_slash or not segments or segments[-1]:
            return [exact]
        without = self._matching(segments[:-1])
        return [without, exact] if exact and exact != without else [without]

    def _matching(self, segments: Segments) -> list[RoutePattern]:
        ends = list(_reachable(self._root, segments, 0))
        if len(ends) > 1:
            ends.sort(key=_rank)
        return [route for _, route in ends]


def _rank(end: tuple[int, RoutePattern]) -> int:
    return end[0]


def _reachable(node: _Node, segments: Segments, depth: int) -> Iterator[tuple[int, RoutePattern]]:
    yield from node.rest
    if depth == len(segments):
        yield from node.ends
        return
    fixed = node.fixed.get(segments[depth])
    if fixed is not None:
        yield from _reachable(fixed, segments, depth + 1)
    if node.any is not None and segments[depth]:
        yield from _reachable(node.any, segments, depth + 1)


def pattern_segments(pattern: str) -> list[str]:
    return pattern.strip("/").split("/") if pattern != "/" else []


def parameters(pattern: str, segments: Segments) -> tuple[tuple[str, str], ...]:
    """The values of a pattern's parameters in a path that matches it."""
    return tuple([(name, segments[place]) for place, name in _names(pattern)]) if "{" in pattern else ()


@lru_cache(maxsize=4_096)
def _names(pattern: str) -> tuple[tuple[int, str], ...]:
    """A pattern's parameters, and which of its segments each is."""
    segments = enumerate(pattern_segments(pattern))
    return tuple((place, segment[1:-1]) for place, segment in segments if segment.startswith("{"))


def allowed_methods(routes: Iterable[RoutePattern]) -> tuple[str, ...]:
    """What `Allow` lists for routes of one path."""
    methods = {method for route in routes for method in route.methods}
    return tuple(sorted(methods | {"HEAD"} if "GET" in methods else methods))
