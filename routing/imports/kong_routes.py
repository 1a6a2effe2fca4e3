"""Kong's routes as routes of a service, in Kong's order."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from routing.imports import kong_plugins
from routing.imports.building import ImportedSettings, compact, methods, route_pattern
from routing.imports.kong_entities import Entities
from routing.imports.regular_paths import pattern_of
from routing.imports.report import Section
from routing.imports.route_order import LAST, Rank, Ranked, arranged

_NAMES: Final = ("id", "name", "tags", "created_at", "updated_at")
_MATCHING: Final = ("headers", "snis", "sources", "destinations", "expression")
_CHOSEN: Final = frozenset({"headers", "snis"})
"""Conditions that callers choose: whoever leaves them out gets the next route, so that they protect nothing."""
_DEFAULTS: Final[dict[str, object]] = {
    "path_handling": "v0",
    "request_buffering": True,
    "response_buffering": True,
}


def read_route(item: Section, entities: Entities) -> "KongRoute | None":
    """The route; None, with a note, if it has no method that is supported."""
    route = KongRoute(item, entities)
    return None if route.methods is None else route


def apply_routes(
    routes: "list[KongRoute]",
    name: str,
    service: dict[str, Any],
    shared: ImportedSettings,
    others: Iterable[Ranked] = (),
) -> bool:
    """Routes whose prefix is removed leave the service's whole path; others keep theirs. Whether there are any.

    `others` are the barriers of routes that lead to the same backend as other services.
    """
    service.update(_settings(shared))
    ranked = [*(each for route in routes for each in route.ranked(name, shared)), *others]
    if any(route.preserve_host for route in routes):
        service["preserve_host"] = True
        if len({frozenset(route.hosts) for route in routes}) > 1:  # for other hosts, the backend has other paths
            ranked += [route.barrier(shared) for route in routes]
    own = arranged(ranked, service, routes[0].report)
    if not own:
        return False
    if len(own) == 1 and own[0]["path"] == "/*" and "methods" not in own[0]:
        service.update({key: value for key, value in own[0].items() if key != "path"})
    else:
        service["routes"] = own
    return True


def _settings(settings: ImportedSettings) -> dict[str, Any]:
    """The settings of a service or route: without a plugin, anybody may call, and nothing is stored."""
    return compact({"auth": "none", "cache": False, **settings})


class KongRoute:
    """One route as read. `methods` is None, with a note, if none of them is supported.

    One that matches by what routes here do not match by is left out, with a note: it would be open for more.
    """

    def __init__(self, item: Section, entities: Entities) -> None:
        self.report, self.path = item.report, item.path
        others = [key for key in _MATCHING if item.take(key)]
        if others:
            self.report.left_out(self.path, f"routes match by method and path, not by {' and '.join(others)}")
        self._is_left_out, self._is_barrier = bool(others), not _CHOSEN.issuperset(others)
        self._settings = kong_plugins.read(entities.plugins(item, "route"))
        self._paths = item.texts("paths")
        self.methods = methods(item.texts("methods"), (*item.path, "methods"), item.report)
        hosts = item.texts("hosts")
        self.hosts: list[str] = [] if others else hosts
        self.preserve_host = item.take("preserve_host", False) is True
        is_regular = any(each.startswith("~") for each in self._paths)
        strips = item.take("strip_path", True) is not False
        self.strips = strips and self._paths not in ([], ["/"]) and not is_regular
        if strips and is_regular:
            self.report.left_out((*item.path, "strip_path"), "what matches a regular expression is not removed")
        self._priority = item.number("regex_priority", 0)
        item.without_effect(*_NAMES, "https_redirect_status_code")
        item.default("protocols", ["http", "https"], ["https", "http"], ["https"], ["http"])
        for key, value in _DEFAULTS.items():
            item.default(key, value)
        item.finish()

    def barrier(self, shared: ImportedSettings, rank: Rank = (-LAST,)) -> Ranked:
        """What refuses callers of the paths that are left out."""
        return Ranked(rank, self._own(shared), self.path)

    def barriers(self, name: str, shared: ImportedSettings, hosts: Collection[str]) -> list[Ranked]:
        """Those of the route for another service of the same backend, whose routes are for these hosts; none for any.

        A route that removes its prefix has other paths at the backend.
        """
        if self.strips or (self.hosts and hosts and set(self.hosts).isdisjoint(hosts)):
            return []
        settings = {**_settings(shared), **self._own(shared)}
        ranked = self.ranked(name, shared)
        return [each._replace(route=settings, pattern=each.route.get("path", each.pattern)) for each in ranked]

    def _own(self, shared: ImportedSettings) -> dict[str, Any]:
        return _settings({**shared, **self._settings}) if self._settings else {}

    def ranked(self, name: str, shared: ImportedSettings) -> list[Ranked]:
        """Kong prefers routes with more kinds of conditions, then regular expressions, then longer paths."""
        if self._is_left_out:
            return [self.barrier(shared)] if self._is_barrier else []
        settings = self._own(shared)
        allowed = {"methods": self.methods} if self.methods else {}
        conditions = -sum(map(bool, (self.hosts, self.methods, self._paths)))
        if self.strips:
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
            if pattern is None:
                found.append(self.barrier(shared, rank))
            else:
                found.append(Ranked(rank, {"path": pattern, **allowed, **settings}, path))
        return found
