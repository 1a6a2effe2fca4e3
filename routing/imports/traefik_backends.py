"""Traefik's services as targets and settings of services."""

from typing import Any

from routing.imports.backend_tls import TraefikTransports
from routing.imports.building import duration, seconds_of, target, weighted
from routing.imports.report import Section


def local(name: str) -> str:
    """The name of what is in this file, without its provider."""
    return name.removesuffix("@file")


class Backends:
    """The file's services by name, which may consist of others."""

    def __init__(self, http: Section) -> None:
        self._report = http.report
        self._items = http.named("services")
        self.transports = TraefikTransports(http)
        self._read: dict[str, dict[str, Any] | None] = {}
        self.inner: set[str] = set()
        """The names of services that are parts of others."""

    @property
    def names(self) -> list[str]:
        return list(self._items)

    def read(self, name: str, depth: int = 0) -> dict[str, Any] | None:
        """Its settings here; None, with a note, if it has no targets."""
        if depth:
            self.inner.add(name)
        if name not in self._read:
            item = self._items.get(name)
            self._read[name] = None if item is None or depth > 8 else self._service(name, item, depth)
        return self._read[name]

    def _service(self, name: str, item: Section, depth: int) -> dict[str, Any] | None:
        if "weighted" in item:
            found = self._weighted(item.item("weighted"), depth)
        elif "failover" in item:
            found = self._failover(item.item("failover"), depth)
        elif "mirroring" in item:
            mirroring = item.item("mirroring")
            found = self.read(local(mirroring.text("service")), depth + 1)
            mirroring.explain("mirrors", "requests are sent once")
            mirroring.finish()
        else:
            found = self._load_balancer(item.item("loadBalancer"))
        item.finish()
        if found is None:
            self._report.left_out(item.path, f"the service {name} has no target")
        return found

    def _load_balancer(self, item: Section) -> dict[str, Any] | None:
        targets = []
        for server in item.items("servers"):
            made = target(server.text("url"), (*server.path, "url"), self._report)
            weight = server.number("weight", 1)
            server.finish()
            if made is not None:
                targets.append((made, weight))
        settings: dict[str, Any] = {
            "targets": weighted(targets),
            "preserve_host": item.take("passHostHeader", True) is not False,
        }
        settings |= _health(item) | self.transports.settings(item, [made["url"] for made, _ in targets])
        item.explain("sticky", "targets are chosen by load: keep sessions in a store that all have")
        item.default("strategy", "wrr")
        item.finish()
        return settings if targets else None

    def _weighted(self, item: Section, depth: int) -> dict[str, Any] | None:
        listed, settings, transports = [], dict[str, Any](), list[Any]()
        for each in item.items("services"):
            inner, weight = self.read(local(each.text("name")), depth + 1), each.number("weight", 1)
            each.finish()
            if inner is not None:
                settings = {**inner, **settings}
                transports.append(inner.get("tls"))
                share = sum(found.get("weight", 1) for found in inner["targets"])
                listed += [(_plain(found), weight * found.get("weight", 1) / share) for found in inner["targets"]]
        item.explain("sticky", "targets are chosen by load: keep sessions in a store that all have")
        item.without_effect("healthCheck")
        item.finish()
        if any(found != transports[0] for found in transports):
            self._report.left_out(item.path, "its services have different transports: set tls of the targets")
            settings.pop("tls", None)
        return {**settings, "targets": weighted(listed)} if listed else None

    def _failover(self, item: Section, depth: int) -> dict[str, Any] | None:
        main, other = local(item.text("service")), local(item.text("fallback"))
        item.without_effect("healthCheck")
        item.finish()
        found = self.read(main, depth + 1)
        return None if found is None else {**found, "fallback": {"service": other}}


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "weight"}


def _health(balancer: Section) -> dict[str, Any]:
    if "healthCheck" not in balancer:
        return {}
    item = balancer.item("healthCheck")
    health: dict[str, Any] = {"path": item.text("path", "/")}
    for key in ("interval", "timeout"):
        if (seconds := seconds_of(item.take(key))) is not None:
            health[key] = duration(seconds)
    item.default("mode", "http")
    item.default("followRedirects", True)
    item.finish()
    return {"health": health}
