"""Files of Traefik's file provider: https://doc.traefik.io/traefik/reference/dynamic-configuration/file/."""

from collections.abc import Iterable
from typing import Any, Final

from routing.imports.building import Services, compact, methods, route_pattern
from routing.imports.report import Imported, Report, Section
from routing.imports.route_order import Ranked, arranged
from routing.imports.traefik_backends import Backends, local
from routing.imports.traefik_certificates import ClientCertificates
from routing.imports.traefik_middlewares import Middlewares
from routing.imports.traefik_names import spelled
from routing.imports.traefik_rules import RouterRule, parse_rule

PRODUCT: Final = "Traefik"
SECTIONS: Final = ("http", "tcp", "udp", "tls")
_PUBLIC: Final = frozenset({"http", "https", "web", "websecure"})
"""What entry points that everybody reaches are usually called. Others may be of an internal network."""
_OWN: Final = ("targets", "hosts", "health", "routes", "tls")


def is_traefik(structure: dict[str, Any]) -> bool:
    http = spelled(structure).get("http")
    return isinstance(http, dict) and not {"routers", "services", "middlewares"}.isdisjoint(http)


def convert(structure: dict[str, Any]) -> Imported:
    report = Report()
    top = Section(spelled(structure), (), report)
    http = top.item("http")
    middlewares = Middlewares(http)
    certificates = ClientCertificates(top.item("tls"))
    backends = Backends(http)
    services = Services(report)
    routers: dict[str, list[_Router]] = {}
    for name, item in http.named("routers").items():
        router = _Router(name, item, middlewares, certificates)
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

    def __init__(self, name: str, item: Section, middlewares: Middlewares, certificates: ClientCertificates) -> None:
        self.name, self.path = name, item.path
        item.report.subject = name
        self.service, rule = local(item.text("service")), item.text("rule")
        self.rule: RouterRule | None = parse_rule(rule, (*item.path, "rule"), item.report)
        self.settings = middlewares.settings([local(each) for each in item.texts("middlewares")], item.path)
        self.rank = (-(item.number("priority", 0) or len(rule)),)
        self.keeps_path = self.settings.keys().isdisjoint(("strip", "prefix"))
        item.default("ruleSyntax", "v2", "v3", "default")
        if certificates.are_required(item):
            self.settings["auth"] = "required"
        if not _PUBLIC.issuperset(item.texts("entryPoints")):
            item.report.changed((*item.path, "entryPoints"), "services are called at every address of the gateway")
        item.without_effect("observability")
        item.finish()

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(sorted(self.rule.hosts)) if self.rule else ()

    def shares_hosts(self, others: Iterable[str]) -> bool:
        """Whether a request may match this router and one for these hosts. None stand for any."""
        return not self.hosts or not others or not set(self.hosts).isdisjoint(others)

    @property
    def barriers(self) -> list[Ranked]:
        """What refuses callers of the router's paths, where its routes are those of another service."""
        if self.rule is None or not self.keeps_path:
            return [self.barrier]
        listed = self.rule.paths or [("/", True)]
        patterns = [route_pattern(text, self.path, Report(), is_prefix=is_prefix) for text, is_prefix in listed]
        return [self.barrier._replace(pattern=pattern or "/*") for pattern in patterns]

    @property
    def barrier(self) -> Ranked:
        """What refuses callers of the router's paths, where its routes cannot be listed."""
        route = {key: value for key, value in _open(self.settings).items() if key not in ("strip", "prefix")}
        return Ranked(self.rank, route, self.path)


class _Conversion:
    """Makes a service of each service that a router, or another service's fallback, names."""

    def __init__(
        self, report: Report, services: Services, backends: Backends, routers: dict[str, list[_Router]]
    ) -> None:
        self._report, self._services, self._backends, self._all = report, services, backends, routers
        ruled = {name: [each for each in listed if each.rule is not None] for name, listed in routers.items()}
        self._routers = {name: listed for name, listed in ruled.items() if listed}
        self._names: dict[str, str] = {}
        self._hosts: dict[str, set[tuple[str, int]]] = {}
        for name, listed in self._routers.items():
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
        if not self._apply(called, service, routers, self._others(name, found, routers)):
            self._services.found.pop(called)
        elif fallback is not None and (other := self._fallback(fallback["service"], service)) is not None:
            service["fallback"] = {"service": other}
        return True

    def _others(self, name: str, service: dict[str, Any], routers: list[_Router]) -> list[_Router]:
        """Other routers for these hosts that lead to the same backend, by this service or by another one of its
        address. Where either removes a part of the path, paths of the one are none of the other.
        """
        others = [each for each in self._all[name] if each not in routers]
        urls = {target["url"] for target in service["targets"]}
        if any(each.keeps_path for each in routers):
            for other in self._all.keys() - {name}:
                targets = (self._backends.read(other) or {}).get("targets", ())
                if not urls.isdisjoint(target["url"] for target in targets):
                    others += [each for each in self._all[other] if each.keeps_path]
        hosts = {host for each in routers for host in each.hosts} if all(each.hosts for each in routers) else ()
        return [each for each in others if each.shares_hosts(hosts)]

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

    def _apply(self, name: str, service: dict[str, Any], routers: list[_Router], others: list[_Router]) -> bool:
        """Whether any router leads to the service. Without a route, it would be open for all paths.

        `others` lead to the same backend for some of the hosts, and are left out or another service.
        """
        ranked = [made for router in routers for made in self._routes(name, service, router)]
        if not any("path" in each.route for each in ranked):
            return False
        ranked += [barrier for each in others for barrier in each.barriers]
        if all(each.settings == routers[0].settings for each in routers):
            service |= _open(routers[0].settings)
            ranked = [each._replace(route=_without_settings(each.route)) for each in ranked]
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
        found: list[Ranked] = []
        for text, is_prefix in rule.paths or [("/", True)]:
            rest = _without(text, stripped, is_prefix=is_prefix)
            pattern = route_pattern(rest, (*router.path, "rule"), self._report, is_prefix=is_prefix)
            if pattern is None:
                found.append(router.barrier)
                continue
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


def _without_settings(route: dict[str, Any]) -> dict[str, Any]:
    """A route that has those of its service. One that is left out keeps its own."""
    return {key: value for key, value in route.items() if key in ("path", "methods")} if "path" in route else route


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
