"""Merges the operations of a document into a service's routes, and keeps what was set by hand.

Three versions are compared: the operations of the previous import (`before`), those of this one (`wanted`) and the
routes as they are. An import sets paths and methods and nothing else.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from routing.configuration.values import SUPPORTED_METHODS
from routing.openapi.operations import DocumentRoute, shape

_OWN: Final = frozenset({"path", "methods"})
"""The keys of a route that an import sets."""


class Edit(msgspec.Struct, frozen=True):
    """A route, with its methods before and after."""

    path: str
    old: tuple[str, ...]
    new: tuple[str, ...]


class Merged(msgspec.Struct, frozen=True):
    """`routes` as the configuration file writes them.

    `kept` are no longer in the document but have settings; `left_out` are in the document but were removed by hand;
    `shadowed` come after a route with settings that matches the same paths. `imported` is `before` of the next import.
    """

    routes: list[dict[str, Any]]
    added: tuple[DocumentRoute, ...] = ()
    changed: tuple[Edit, ...] = ()
    removed: tuple[DocumentRoute, ...] = ()
    kept: tuple[DocumentRoute, ...] = ()
    left_out: tuple[DocumentRoute, ...] = ()
    shadowed: tuple[DocumentRoute, ...] = ()
    imported: tuple[DocumentRoute, ...] = ()


def merge(
    routes: Iterable[dict[str, Any]],
    wanted: Sequence[DocumentRoute],
    before: Iterable[DocumentRoute] = (),
    *,
    prune: bool = False,
    restore: bool = False,
) -> Merged:
    """Add, change and remove routes. `routes` are in canonical form.

    `prune` removes also routes with settings that the document no longer has; `restore` adds again what was removed by
    hand.
    """
    merging = _Merging([dict(route) for route in routes], wanted, before)
    merging.remove(prune=prune)
    merging.add(restore=restore)
    return merging.result()


class _Merging:
    def __init__(
        self, routes: list[dict[str, Any]], wanted: Sequence[DocumentRoute], before: Iterable[DocumentRoute]
    ) -> None:
        self._routes = routes
        self._original = [(route, dict(route)) for route in routes]
        self._wanted = wanted
        self._methods = {shape(path): frozenset(methods) for path, methods in wanted}
        self._before: dict[str, frozenset[str]] = {}
        for path, methods in before:
            self._before[shape(path)] = self._before.get(shape(path), frozenset()).union(methods)
        self._found: dict[str, list[DocumentRoute]] = {
            name: [] for name in ("added", "removed", "kept", "left_out", "shadowed")
        }

    def remove(self, *, prune: bool) -> None:
        """Remove methods that the previous import has added and the document no longer has."""
        for route in list(self._routes):
            form = shape(route["path"])
            gone = self._before.get(form, frozenset()) - self._methods.get(form, frozenset())
            methods = route.get("methods", [])
            if not gone.intersection(methods):
                continue
            remaining = [method for method in methods if method not in gone]
            if remaining or (remaining := self._instead(route)):
                route["methods"] = remaining
            elif prune or route.keys() <= _OWN:
                self._routes.remove(route)
                self._found["removed"].append(DocumentRoute(route["path"], tuple(methods)))
            else:
                # Without the route, its path would have the service's settings: it might be open to more callers.
                self._found["kept"].append(DocumentRoute(route["path"], tuple(methods)))

    def _instead(self, route: dict[str, Any]) -> list[str]:
        """The new methods of the path, of a route with settings whose own are gone."""
        form = shape(route["path"])
        others = [each for each in self._routes if each is not route and shape(each["path"]) == form]
        new = self._methods.get(form, frozenset()) - self._before[form]
        free = [method for method in new if not any(_allows(each, method) for each in others)]
        return [] if route.keys() <= _OWN else sorted(free, key=SUPPORTED_METHODS.index)

    def add(self, *, restore: bool) -> None:
        for path, methods in self._wanted:
            form = shape(path)
            same = [route for route in self._routes if shape(route["path"]) == form]
            missing = [method for method in methods if not any(_allows(route, method) for route in same)]
            by_hand = () if restore else self._before.get(form, frozenset())
            left_out = tuple(method for method in missing if method in by_hand)
            if left_out:
                self._found["left_out"].append(DocumentRoute(path, left_out))
            missing = [method for method in missing if method not in left_out]
            if missing and same:
                # What is set on the route holds for its new methods too.
                both = {*same[0]["methods"], *missing}
                same[0]["methods"] = sorted(both, key=SUPPORTED_METHODS.index)
            elif missing:
                self._insert(path, missing)

    def _insert(self, path: str, methods: list[str]) -> None:
        """Before the first route that would match its requests, unless settings of that must hold for them."""
        operation = DocumentRoute(path, tuple(methods))
        self._found["added"].append(operation)
        place = len(self._routes)
        for index, route in enumerate(self._routes):
            if covers(route["path"], path):
                if route.keys() <= _OWN:
                    place = index
                    break
                if any(_allows(route, method) for method in methods):
                    self._found["shadowed"].append(operation)
                    break
        self._routes.insert(place, {"path": path, "methods": methods})

    def result(self) -> Merged:
        changed = tuple(
            Edit(route["path"], tuple(old.get("methods", ())), tuple(route.get("methods", ())))
            for route, old in self._original
            if old != route
        )
        found = {name: tuple(items) for name, items in self._found.items()}
        return Merged(self._routes, changed=changed, imported=(*self._wanted, *found["kept"]), **found)


def covers(general: str, path: str) -> bool:
    """Whether the pattern `general` matches every path that the pattern `path` matches."""
    wide, narrow = general.strip("/").split("/"), path.strip("/").split("/")
    if wide[-1] == "*":
        wide = wide[:-1]
        narrow = narrow[: len(wide)] if len(narrow) >= len(wide) else []
        if len(narrow) < len(wide):
            return False
    return len(wide) == len(narrow) and all(
        one == other or (one.startswith("{") and other not in ("", "*"))
        for one, other in zip(wide, narrow, strict=True)
    )


def _allows(route: dict[str, Any], method: str) -> bool:
    methods = route.get("methods")
    return not methods or method in methods or (method == "HEAD" and "GET" in methods)
