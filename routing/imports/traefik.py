"""Files of Traefik's file provider: https://doc.traefik.io/traefik/reference/dynamic-configuration/file/."""

from typing import Any, Final

from routing.imports.backend_tls import TraefikTransports
from routing.imports.building import Services, compact, duration, methods, route_pattern, seconds_of, target, weighted
from routing.imports.report import Imported, Item, Report
from routing.imports.route_order import Ranked, arranged
from routing.imports.traefik_certificates import ClientCertificates
from routing.imports.traefik_middlewares import Middlewares
from routing.imports.traefik_names import spelled
from routing.imports.traefik_rules import Rule, parse_rule

PRODUCT: Final = "Traefik"
SECTIONS: Final = ("http", "tcp", "udp", "tls")
_OWN: Final = ("targets", "hosts", "health", "routes", "tls")


def is_traefik(structure: dict[str, Any]) -> bool:
    http = spelled(structure).get("http")
    return isinstance(http, dict) and not {"routers", "services", "middlewares"}.isdisjoint(http)


def convert(structure: dict[str, Any]) -> Imported:
    report = Report()
    top = Item(spelled(structure), (), report)
    http = top.item("http")
    middlewares = Middlewares(http)
    certificates = ClientCertificates(top.item("tls"))
    backends = _Backends(http)
    services = Services(report)
    routers: dict[str, list[_Router]] = {}
    for name, item in http.named("routers").items():
        router = _Router(name, item, middlewares, certificates)
        if router.rule is not None:
            routers.setdefault(router.service, []).append(router)
    _Conversion(report, services, backends, routers).run()
    backends.transports.finish(report)
    http.finish()
    top.explain("tcp", "only HTTP is passed on")
    top.explain("udp", "only HTTP is passed on")
    top.finish()
    middlewares.finish()
    return Imported(PRODUCT, services.document(), tuple(report.notes))


class _Router:
    """`rule` is None, with a note, if it has no counterpart. Traefik prefers a higher priority, then a longer rule."""

    def __init__(self, name: str, item: Item, middlewares: Middlewares, certificates: ClientCertificates) -> None:
        self.name, self.path = name, item.path
        item.report.subject = name
        self.service, rule = _local(item.text("service")), item.text("rule")
        self.rule: Rule | None = parse_rule(rule, (*item.path, "rule"), item.report)
        self.settings = middlewares.settings([_local(each) for each in item.texts("middlewares")], item.path)
        self.rank = (-(item.number("priority", 0) or len(rule)),)
        item.default("ruleSyntax", "v2", "v3", "default")
        if certificates.are_required(item):
            self.settings["auth"] = "required"
        item.without_effect("entryPoints", "observability")
        item.finish()

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted(self.rule.hosts)) if self.rule else ()


def _local(name: str) -> str:
    return name.removesuffix("@file")


class _Backends:
    """The file's services by name, which may consist of others."""

    def __init__(self, http: Item) -> None:
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

    def _service(self, name: str, item: Item, depth: int) -> dict[str, Any] | None:
        if "weighted" in item:
            found = self._weighted(item.item("weighted"), depth)
        elif "failover" in item:
            found = self._failover(item.item("failover"), depth)
        elif "mirroring" in item:
            mirroring = item.item("mirroring")
            found = self.read(_local(mirroring.text("service")), depth + 1)
            mirroring.explain("mirrors", "requests are sent once")
            mirroring.finish()
        else:
            found = self._load_balancer(item.item("loadBalancer"))
        item.finish()
        if found is None:
            self._report.left_out(item.path, f"the service {name} has no target")
        return found

    def _load_balancer(self, item: Item) -> dict[str, Any] | None:
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

    def _weighted(self, item: Item, depth: int) -> dict[str, Any] | None:
        listed, settings, transports = [], dict[str, Any](), list[Any]()
        for each in item.items("services"):
            inner, weight = self.read(_local(each.text("name")), depth + 1), each.number("weight", 1)
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

    def _failover(self, item: Item, depth: int) -> dict[str, Any] | None:
        main, other = _local(item.text("service")), _local(item.text("fallback"))
        item.without_effect("healthCheck")
        item.finish()
        found = self.read(main, depth + 1)
        return None if found is None else {**found, "fallback": {"service": other}}


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "weight"}


def _health(balancer: Item) -> dict[str, Any]:
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


class _Conversion:
    """Makes a service of each service that a router, or another service's fallback, names."""

    def __init__(
        self, report: Report, services: Services, backends: _Backends, routers: dict[str, list[_Router]]
    ) -> None:
        self._report, self._services, self._backends, self._routers = report, services, backends, routers
        self._names: dict[str, str] = {}
        self._hosts: dict[str, set[tuple[str, int]]] = {}
        for name, listed in routers.items():
            for index, group in enumerate(_groups(listed)):
                for host in (host for router in group for host in router.hosts):
                    self._hosts.setdefault(host, set()).add((name, index))

    def run(self) -> None:
        for name, routers in self._routers.items():
            for group in _groups(routers):
                if not self._add(name, group):
                    for router in group:
                        self._report.left_out(router.path, f"its service {name} is not in the file, or has no target")
        for name in self._backends.names:
            if self._backends.read(name) is not None and name not in self._names.keys() | self._backends.inner:
                self._report.left_out(("http", "services", name), "no router has this service")

    def _add(self, name: str, routers: list[_Router]) -> bool:
        found = self._backends.read(name)
        if found is None:
            return False
        service = dict(found)
        fallback = service.pop("fallback", None)
        called = self._services.add(name, ("http", "services", name), service)
        self._names.setdefault(name, called)
        if not self._apply(called, service, routers):
            self._services.found.pop(called)
        elif fallback is not None and (other := self._fallback(fallback["service"], service)) is not None:
            service["fallback"] = {"service": other}
        return True

    def _fallback(self, name: str, service: dict[str, Any]) -> str | None:
        """The service that replaces another. Unless a router names it too, it is as open as that, and no more."""
        if name in self._routers:
            if name not in self._names:
                for group in _groups(self._routers[name]):
                    self._add(name, group)
            return self._names.get(name)
        found = self._backends.read(name)
        if found is None:
            return None
        shared = {key: value for key, value in service.items() if key not in _OWN}
        routes = [dict(each) for each in service.get("routes", ())]
        self._names[name] = self._services.add(name, ("http", "services", name), {**shared, **found, "routes": routes})
        return self._names[name]

    def _apply(self, name: str, service: dict[str, Any], routers: list[_Router]) -> bool:
        """Whether any router leads to the service. Without a route, it would be open for all paths."""
        ranked = [made for router in routers for made in self._routes(name, service, router)]
        if not ranked:
            return False
        if all(each.settings == routers[0].settings for each in routers):
            service |= _open(routers[0].settings)
            ranked = [
                each._replace(route={key: value for key, value in each.route.items() if key in ("path", "methods")})
                for each in ranked
            ]
        else:
            service |= {"auth": "required", "cache": False}
        routes = arranged(ranked, service, self._report)
        if routes != [{"path": "/*"}]:
            service["routes"] = routes
        return True

    def _routes(self, name: str, service: dict[str, Any], router: _Router) -> list[Ranked]:
        rule = router.rule
        assert rule is not None  # noqa: S101 - for the type checker: others were left out
        stripped = router.settings.pop("strip", None)
        shared = [host for host in rule.hosts if len(self._hosts[host]) > 1]
        if shared or stripped or not rule.hosts:
            self._report.changed(
                (*router.path, "rule"), f"call /api/v1/{name}{'' if stripped else '/…, with the same path'}"
            )
        if not stripped:
            own = service.setdefault("hosts", [])
            own += [host for host in rule.hosts if host not in shared and host not in own]
        prefix = router.settings.pop("prefix", "")
        if prefix:
            service["targets"] = [{**each, "url": each["url"] + prefix} for each in service["targets"]]
        allowed = methods(list(rule.methods), (*router.path, "rule"), self._report)
        if allowed is None:
            return []
        found = []
        for text, is_prefix in rule.paths or [("/", True)]:
            rest = _without(text, stripped, is_prefix=is_prefix)
            pattern = route_pattern(rest, (*router.path, "rule"), self._report, is_prefix=is_prefix)
            if pattern is not None:
                route = {"path": pattern, **({"methods": allowed} if allowed else {}), **_open(router.settings)}
                found.append(Ranked(router.rank, route, (*router.path, "rule")))
        return found


def _groups(routers: list[_Router]) -> list[list[_Router]]:
    """Routers of one service that become one: those for other hosts, if their middlewares differ, become others.

    Routes do not match by host, and a backend that gets the host may respond differently to each.
    """
    if all(each.settings == routers[0].settings for each in routers):
        return [routers]
    groups: dict[tuple[str, ...], list[_Router]] = {}
    for router in routers:
        groups.setdefault(router.hosts, []).append(router)
    return list(groups.values())


def _without(path: str, prefixes: list[str] | None, *, is_prefix: bool) -> str:
    """What remains of a rule's path: of `/api/admin` without `/api`, `/admin`. A longer prefix leaves nothing of it."""
    for prefix in prefixes or ():
        if path.startswith(prefix):
            return "/" + path[len(prefix) :].lstrip("/")
        if is_prefix and prefix.startswith(path):
            return "/"
    return path


def _open(settings: dict[str, Any]) -> dict[str, Any]:
    """Without a middleware, anybody may call, and nothing is stored."""
    return compact({"auth": "none", "cache": False, **settings})
