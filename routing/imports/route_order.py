"""The order of imported routes: here the first that matches holds, and each of the products has an order of its own."""

from collections.abc import Iterable
from itertools import zip_longest
from typing import Any, Final, NamedTuple

from routing.configuration.faults import Path
from routing.imports.report import Report

RouteSettings = dict[str, Any]
Rank = tuple[float, ...]

LAST: Final = float("inf")
_MATCHING: Final = ("path", "methods")
_END, _LITERAL, _PARAMETER, _REST = range(4)
_REQUIRED: Final = 2
"""The strictness of what asks for a credential. More is disabled, less is a list of addresses or nothing."""


class Ranked(NamedTuple):
    """A route, its place in the product's order, lowest first, and where it is in the file.

    A route without a `path` is left out: it only says what refuses callers before the routes that follow it, of the
    paths of `pattern`.
    """

    rank: Rank
    route: RouteSettings
    path: Path
    pattern: str = "/*"


def arranged(
    routes: list[Ranked], inherited: dict[str, Any], report: Report, *, has_text_prefixes: bool = True
) -> list[RouteSettings]:
    """The routes by rank, and of equal ones the stricter first. Of two for the same paths and methods, one is made.

    Which paths a route that is left out had is not known: if it refused callers, those of later routes need a
    credential. `inherited` are the service's settings. `has_text_prefixes`: the product's `/admin` is `/admins` too.
    """
    kept: dict[tuple[str, frozenset[str]], RouteSettings] = {}
    barriers: list[str] = []
    for ranked in sorted(routes, key=lambda each: (each.rank, -_strictness({**inherited, **each.route}))):
        route, strictness = ranked.route, _strictness({**inherited, **ranked.route})
        if "path" not in route:
            barriers += [ranked.pattern] if strictness else []
            continue
        if strictness < _REQUIRED and any(_may_overlap(route["path"], each) for each in barriers):
            route = {**route, "auth": "required"}
            report.changed(ranked.path, "another route refuses callers of some of these paths: callers need a key")
        elif has_text_prefixes and not strictness and (guarded := _guarded(route["path"], kept.values(), inherited)):
            text = f"also leads to paths that begin with {guarded} without a slash after it, which needed a credential"
            report.changed(ranked.path, text)
        key = _shape(route["path"]), frozenset(route.get("methods", ()))
        if key not in kept:
            kept[key] = dict(route)
        elif (both := _both(kept[key], route, inherited)) != kept[key] or _settings(route) != _settings(kept[key]):
            kept[key] = both
            report.changed(ranked.path, "leads to the same paths as another route: what is stricter of both holds")
    return list(kept.values())


def _may_overlap(first: str, second: str) -> bool:
    """Whether there may be a path that both patterns match."""
    for one, other in zip_longest(first.split("/"), second.split("/")):
        if "*" in (one, other):
            return True
        if one is None or other is None or (one != other and "{" not in (one[:1], other[:1])):
            return False
    return True


def _shape(pattern: str) -> str:
    """Equal for patterns that match the same paths."""
    return "/".join("{}" if part.startswith("{") else part for part in pattern.split("/"))


def _guarded(pattern: str, earlier: Iterable[RouteSettings], inherited: RouteSettings) -> str | None:
    """A prefix that an earlier route protects and whose longer neighbours, such as `/admins`, the pattern matches."""
    if not pattern.endswith("/*"):
        return None
    protected = (
        each["path"][:-2] for each in earlier if _strictness({**inherited, **each}) and each["path"][-2:] == "/*"
    )
    return next((prefix for prefix in protected if prefix and f"{prefix}/".startswith(pattern[:-1])), None)


def specificity(pattern: str) -> Rank:
    """A rank by which the more specific of two patterns comes first, segment by segment."""
    segments = pattern.strip("/").split("/") if pattern != "/" else []
    return (*map(_kind, segments), _END)


def _kind(segment: str) -> int:
    if segment == "*":
        return _REST
    return _PARAMETER if segment.startswith("{") else _LITERAL


def _settings(route: RouteSettings) -> RouteSettings:
    return {key: value for key, value in route.items() if key not in _MATCHING}


def _strictness(settings: RouteSettings) -> int:
    is_off, is_required = settings.get("enabled") is False, settings.get("auth") == "required"
    return 4 * is_off + _REQUIRED * is_required + ("ip" in settings)


def _both(first: RouteSettings, second: RouteSettings, inherited: RouteSettings) -> RouteSettings:
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
