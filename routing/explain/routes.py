"""Why each route of a service matches a request or does not."""

from collections.abc import Iterator, Sequence

from routing.errors import BadRequest
from routing.explain.explanation import RouteCheck
from routing.router.policy import PathPolicy, TrailingSlash
from routing.router.route_tree import REST, RoutePattern, pattern_segments
from routing.router.spelling import Segments, folded, readings
from routing.router.table import Match, Service


def check_routes(service: Service, method: str, path: bytes, match: Match | None) -> Iterator[RouteCheck]:
    """The service's routes in the order they are tried. `match` is the result of the route table."""
    try:
        read = readings(path or b"/", service.paths)
    except BadRequest as error:
        yield from (RouteCheck(route.path, route.methods, False, error.detail) for route in service.routes)
        return
    found = False
    for route in service.routes:
        why = _mismatch(route, read, service.paths) or _wrong_method(route, method)
        matches = why is None and not found and match is not None and route.path == match.pattern
        if matches:
            found, why = True, "the first route that matches"
        elif why is None and match is not None and route.path in match.also:
            why = "applies too: some servers read the path as this route's"
        yield RouteCheck(route.path, route.methods, matches, why or "also matches, but comes after the first match")


def _mismatch(route: RoutePattern, read: Sequence[Segments], policy: PathPolicy) -> str | None:
    reasons = [mismatch(route, segments, policy) for segments in read]
    return None if None in reasons else reasons[0]


def mismatch(route: RoutePattern, segments: Segments, policy: PathPolicy) -> str | None:
    """Why a route's pattern does not match a reading of the path, or None if it does."""
    patterns = pattern_segments(route.path)
    for index, pattern in enumerate(patterns):
        if pattern == REST:
            return None
        if index >= len(segments):
            return f"the path ends before {pattern!r}"
        why = _segment_mismatch(pattern, segments[index], policy)
        if why is not None:
            return why
    rest = segments[len(patterns) :]
    if not rest or (rest == ("",) and policy.trailing_slash is TrailingSlash.SAME):
        return None
    return f"the path continues with {'/'.join(rest)!r}" if any(rest) else "the path ends with a slash"


def _segment_mismatch(pattern: str, segment: str, policy: PathPolicy) -> str | None:
    if pattern.startswith("{"):
        return None if segment else f"{pattern} would be empty"
    if (pattern if policy.case_sensitive else folded([pattern])[0]) == segment:
        return None
    return f"expected {pattern!r}, but the path has {segment!r}"


def _wrong_method(route: RoutePattern, method: str) -> str | None:
    return None if route.allows(method) else f"matches the path, but allows only {', '.join(route.methods)}"
