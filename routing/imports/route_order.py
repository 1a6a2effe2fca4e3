"""The order of imported routes: here the first that matches holds, and each of the products has an order of its own."""

from typing import Any, Final, NamedTuple

from routing.configuration.faults import Path
from routing.imports.report import Report

Route = dict[str, Any]
Rank = tuple[float, ...]

LAST: Final = float("inf")
_MATCHING: Final = ("path", "methods")
_END, _LITERAL, _PARAMETER, _REST = range(4)


class Ranked(NamedTuple):
    """A route, its place in the product's order, lowest first, and where it is in the file."""

    rank: Rank
    route: Route
    path: Path


def arranged(routes: list[Ranked], inherited: dict[str, Any], report: Report) -> list[Route]:
    """The routes by rank, and of equal ones the stricter first. Of two for the same paths and methods, one is made.

    `inherited` are the service's settings.
    """
    kept: dict[tuple[str, frozenset[str]], Route] = {}
    for ranked in sorted(routes, key=lambda each: (each.rank, -_strictness({**inherited, **each.route}))):
        route = ranked.route
        shape = "/".join("{}" if part.startswith("{") else part for part in route["path"].split("/"))
        key = shape, frozenset(route.get("methods", ()))
        if key not in kept:
            kept[key] = dict(route)
        elif (both := _both(kept[key], route, inherited)) != kept[key] or _settings(route) != _settings(kept[key]):
            kept[key] = both
            report.changed(ranked.path, "leads to the same paths as another route: what is stricter of both holds")
    return list(kept.values())


def specificity(pattern: str) -> Rank:
    """A rank by which the more specific of two patterns comes first, segment by segment."""
    segments = pattern.strip("/").split("/") if pattern != "/" else []
    return (*map(_kind, segments), _END)


def _kind(segment: str) -> int:
    if segment == "*":
        return _REST
    return _PARAMETER if segment.startswith("{") else _LITERAL


def _settings(route: Route) -> Route:
    return {key: value for key, value in route.items() if key not in _MATCHING}


def _strictness(settings: Route) -> int:
    return 4 * (settings.get("enabled") is False) + 2 * (settings.get("auth") == "required") + ("ip" in settings)


def _both(first: Route, second: Route, inherited: Route) -> Route:
    """`first`, open to nobody to whom `second` is closed."""
    made, others = dict(first), ({**inherited, **first}, {**inherited, **second})
    if any(each.get("auth", "required") == "required" for each in others):
        made["auth"] = "required"
    lists = [each["ip"] for each in others if "ip" in each]
    if lists:
        made["ip"] = lists[0]
    if any(each.get("enabled") is False for each in others) or any(each != lists[0] for each in lists):
        made["enabled"] = False
    if len({repr(each.get("cache")) for each in others}) > 1:
        made["cache"] = False
    return made
