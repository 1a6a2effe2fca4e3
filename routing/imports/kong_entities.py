"""Kong's routes and plugins, which a file has within what they belong to, or at the top with a reference to it."""

from typing import Final

from routing.imports.report import Section

_CONSUMERS: Final = ("consumer", "consumer_group")


class Entities:
    """Those at the top. A reference is an entity's name or `id`, or a mapping with either."""

    def __init__(self, top: Section) -> None:
        self.shared: list[Section] = []
        """Plugins of no entity: they hold for all services."""
        self._owned: dict[tuple[str, str], list[Section]] = {}
        for route in top.items("routes"):
            self._add("route of", _reference(route, "service"), route, "a route without a service")
        for plugin in top.items("plugins"):
            its_route, its_service = _reference(plugin, "route"), _reference(plugin, "service")
            if its_route or its_service:
                kind = "route's plugin" if its_route else "service's plugin"
                self._add(kind, its_route or its_service, plugin, "belongs to nothing in this file")
            else:
                self.shared.append(plugin)

    def _add(self, kind: str, owner: str, item: Section, fault: str) -> None:
        if owner:
            self._owned.setdefault((kind, owner), []).append(item)
        else:
            item.report.left_out(item.path, fault)

    def routes(self, service: Section) -> list[Section]:
        return service.items("routes") + self._take("route of", service)

    def plugins(self, entity: Section, kind: str) -> list[Section]:
        """`kind` is `route` or `service`."""
        return entity.items("plugins") + self._take(f"{kind}'s plugin", entity)

    def _take(self, kind: str, entity: Section) -> list[Section]:
        names = {name: None for key in ("name", "id") if (name := entity.peek(key))}
        return [item for name in names for item in self._owned.pop((kind, name), [])]

    def finish(self) -> None:
        for (_, owner), items in self._owned.items():
            for item in items:
                item.report.left_out(item.path, f"{owner[:80]} is not in this file, or left out")


def is_for_consumers(plugin: Section) -> bool:
    """Whether it holds for one consumer or group alone, with a note."""
    found = [key for key in _CONSUMERS if plugin.take(key)]
    if found:
        plugin.report.left_out(plugin.path, f"a plugin of a {found[0].replace('_', ' ')}: see plans")
    return bool(found)


def _reference(item: Section, key: str) -> str:
    found = item.take(key)
    if isinstance(found, dict):
        found = found.get("name") or found.get("id")
    return "" if found is None or isinstance(found, dict | list) else str(found)
