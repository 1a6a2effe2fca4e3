"""Why each route of a service matches a request or does not."""

from collections.abc import Iterator

from routing.explain.explanation import RouteCheck
from routing.router.table import REST, Route, Service, segments_of


def check_routes(service: Service, method: str, path: bytes, matched: str | None) -> Iterator[RouteCheck]:
    """The service's routes in the order they are tried. `matched` is the pattern of the matching one."""
    segments, found = segments_of(path), False
    for route in service.routes:
        why = mismatch(route, segments) or _wrong_method(route, method)
        matches = why is None and not found and route.path == matched
        if matches:
            found, why = True, "the first route that matches"
        yield RouteCheck(route.path, route.methods, matches, why or "also matches, but comes after the first match")


def mismatch(route: Route, segments: list[str]) -> str | None:
    """Why a route's pattern does not match the path, or None if it does."""
    patterns = route.path.strip("/").split("/") if route.path != "/" else []
    for index, pattern in enumerate(patterns):
        if pattern == REST:
            return None
        if index >= len(segments):
            return f"the path ends before {pattern!r}"
        segment = segments[index]
        if pattern.startswith("{"):
            if not segment:
                return f"{pattern} would be empty"
        elif pattern != segment:
            return f"expected {pattern!r}, but the path has {segment!r}"
    if len(segments) > len(patterns):
        rest = "/".join(segments[len(patterns) :])
        return f"the path continues with {rest!r}" if rest else "the path ends with a slash"
    return None


def _wrong_method(route: Route, method: str) -> str | None:
    return None if route.allows(method) else f"matches the path, but allows only {', '.join(route.methods)}"
