"""Kong's routes as routes of a service, in Kong's order."""

from typing import Any, Final

from routing.imports import kong_plugins
from routing.imports.building import compact, methods, route_pattern
from routing.imports.kong_entities import Entities
from routing.imports.regular_paths import pattern_of
from routing.imports.report import Item
from routing.imports.route_order import LAST, Ranked, arranged

_NAMES: Final = ("id", "name", "tags", "created_at", "updated_at")
_MATCHING: Final = ("headers", "snis", "sources", "destinations", "expression")
_DEFAULTS: Final[dict[str, object]] = {
    "path_handling": "v0",
    "request_buffering": True,
    "response_buffering": True,
}


def read_route(item: Item, entities: Entities) -> "Route | None":
    """The route; None, with a note, if it matches by what routes here do not match by: it would be open for more."""
    found = [key for key in _MATCHING if item.take(key)]
    if found:
        item.report.left_out(item.path, f"routes match by method and path, not by {' and '.join(found)}")
        return None
    route = Route(item, entities)
    return None if route.methods is None else route


def apply_routes(routes: "list[Route]", name: str, service: dict[str, Any], shared: kong_plugins.Settings) -> bool:
    """Routes whose prefix is removed leave the service's whole path; others keep theirs. Whether there are any."""
    service.update(_settings(shared))
    ranked = [each for route in routes for each in route.ranked(name, shared)]
    if any(route.preserve_host for route in routes):
        service["preserve_host"] = True
    if not ranked:
        return False
    own = arranged(ranked, service, routes[0].report)
    if len(own) == 1 and own[0]["path"] == "/*" and "methods" not in own[0]:
        service.update({key: value for key, value in own[0].items() if key != "path"})
    else:
        service["routes"] = own
    return True


def _settings(settings: kong_plugins.Settings) -> dict[str, Any]:
    """The settings of a service or route: without a plugin, anybody may call, and nothing is stored."""
    return compact({"auth": "none", "cache": False, **settings})


class Route:
    """One route as read. `methods` is None, with a note, if none of them is supported."""

    def __init__(self, item: Item, entities: Entities) -> None:
        self.report, self.path = item.report, item.path
        self._settings = kong_plugins.read(entities.plugins(item, "route"))
        self._paths = item.texts("paths")
        self.methods = methods(item.texts("methods"), (*item.path, "methods"), item.report)
        self.hosts, self.preserve_host = item.texts("hosts"), item.take("preserve_host", False) is True
        is_regular = any(each.startswith("~") for each in self._paths)
        strips = item.take("strip_path", True) is not False
        self._strips = strips and self._paths not in ([], ["/"]) and not is_regular
        if strips and is_regular:
            self.report.left_out((*item.path, "strip_path"), "what matches a regular expression is not removed")
        self._priority = item.number("regex_priority", 0)
        item.without_effect(*_NAMES, "https_redirect_status_code")
        item.default("protocols", ["http", "https"], ["https", "http"], ["https"], ["http"])
        for key, value in _DEFAULTS.items():
            item.default(key, value)
        item.finish()

    def ranked(self, name: str, shared: kong_plugins.Settings) -> list[Ranked]:
        """Kong prefers routes with more kinds of conditions, then regular expressions, then longer paths."""
        settings = _settings({**shared, **self._settings}) if self._settings else {}
        allowed = {"methods": self.methods} if self.methods else {}
        conditions = -sum(map(bool, (self.hosts, self.methods, self._paths)))
        if self._strips:
            for prefix in self._paths:
                text = f"{prefix} is removed from paths: call /api/v1/{name}/ instead"
                self.report.changed((*self.path, "paths"), text)
            return [Ranked((LAST, conditions), {"path": "/*", **allowed, **settings}, self.path)]
        found = []
        for index, text in enumerate(self._paths or ["/"]):
            path = (*self.path, "paths", index)
            if text.startswith("~"):
                rank, pattern = (conditions, 0, -self._priority), pattern_of(text[1:], path, self.report)
            else:
                rank, pattern = (conditions, 1, -len(text)), route_pattern(text, path, self.report, is_prefix=True)
            if pattern is not None:
                found.append(Ranked(rank, {"path": pattern, **allowed, **settings}, path))
        return found
