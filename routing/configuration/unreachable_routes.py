"""Routes that no request reaches, since an earlier one matches all of theirs. Pure."""

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Final
from urllib.parse import quote

from routing.configuration.faults import Fault
from routing.errors import BadRequest
from routing.messages.validation import METHODS
from routing.router import spelling
from routing.router.route_tree import RoutePattern, RouteTree
from routing.router.table import Service

UNREACHABLE: Final = "never reached: {} comes first and matches the same requests. Put the more specific route first"


def unreachable_routes(service: Service) -> Iterator[Fault]:
    """A warning for the first route whose settings therefore hold for nothing."""
    tree = RouteTree(service.routes, service.paths)
    segments = [segment for route in service.routes for segment in route.path.split("/")]
    unnamed = "~" * (1 + max(map(len, segments), default=0))  # a segment that only parameters match
    longest = max((route.path.count("/") for route in service.routes), default=0)
    for index, route in enumerate(service.routes):
        first = _instead(service, tree, route, _examples(route.path, unnamed, longest))
        if first is not None and first.policy != route.policy:
            yield Fault(("services", service.name, "routes", index), UNREACHABLE.format(first.path))
            return


def _instead(service: Service, tree: RouteTree, route: RoutePattern, examples: Iterable[str]) -> RoutePattern | None:
    """The earlier route that gets the requests of this one; None if some of them reach it."""
    found: RoutePattern | None = None
    for example in examples:
        try:
            readings = spelling.readings(quote(example).encode(), service.paths)
        except BadRequest:
            return None
        for routes in (each for segments in readings for each in tree.find(segments)):
            earlier = list(takewhile(lambda each: each is not route, routes))
            if not all(any(each.allows(method) for each in earlier) for method in route.methods or METHODS):
                return None
            found = found or earlier[0]
    return found


def _examples(pattern: str, unnamed: str, longest: int) -> Iterator[str]:
    """Paths that only patterns as wide as this one match. `*` matches any rest, none included."""
    parts = [unnamed if part.startswith("{") else part for part in pattern.split("/")]
    if parts[-1] != "*":
        yield "/".join(parts)
        return
    yield "/".join(parts[:-1]) or "/"
    yield "/".join([*parts[:-1], *[unnamed] * (longest + 1)])
