"""decK's files, and Kong's own for its mode without a database: https://developer.konghq.com/deck/reference/entities."""

import re
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from routing.configuration.faults import Path
from routing.imports import kong_plugins
from routing.imports.backend_tls import KongCertificates
from routing.imports.building import ImportedSettings, Services, duration, host, target, weighted
from routing.imports.kong_entities import Entities
from routing.imports.kong_routes import KongRoute, apply_routes, read_route
from routing.imports.report import Imported, Report, Section
from routing.imports.route_order import Ranked

PRODUCT: Final = "decK"
PORTS: Final = {"http": 80, "https": 443}
TIMEOUT_MS: Final = 60_000
RETRIES: Final = 5
WEIGHT: Final = 100
TARGET_PORT: Final = 8_000
"""The port of an upstream's target that names none."""
_URL: Final = re.compile(r"https?://[A-Za-z0-9._-]+(?::[0-9]{1,5})?(?:/[^?#]*)?")
_PORT: Final = re.compile(r":[0-9]{1,5}$")
_NAMES: Final = ("id", "name", "tags", "created_at", "updated_at")


def is_deck(structure: dict[str, Any]) -> bool:
    return "_format_version" in structure


def convert(structure: dict[str, Any]) -> Imported:
    report = Report()
    top = Section(structure, (), report)
    top.without_effect("_format_version", "_comment", "_ignore")
    top.default("_transform", True)
    top.explain("_info", "defaults and tags of decK itself: write the file with `deck file render` first")
    upstreams = _Upstreams(top)
    entities = Entities(top)
    certificates = KongCertificates(top)
    shared = kong_plugins.read(entities.shared)
    services = Services(report)
    hosts = _Hosts()
    common = _Common(upstreams, entities, certificates, shared)
    listed = [_read_service(item, common, index + 1) for index, item in enumerate(top.items("services"))]
    read = [each for each in listed if each is not None]
    for each in read:
        _add_service(each, [other for other in read if other is not each], services, hosts)
    hosts.settle(services, report)
    upstreams.finish(report)
    entities.finish()
    top.explain("consumers", "create consumers and their keys with `apikey create`: keys are never part of a file")
    top.explain("consumer_groups", "see plans and teams")
    certificates.finish(report)
    top.explain("vaults", "secrets are variables GATEWAY_SECRET_… or files")
    top.finish()
    return Imported(PRODUCT, services.document(), tuple(report.notes))


class _Upstreams:
    """Upstreams by name. Several services may use one."""

    def __init__(self, top: Section) -> None:
        self.report = top.report
        found = top.take("upstreams", [])
        listed = enumerate(found if isinstance(found, list) else ())
        self._values = {str(each.get("name")): (each, index) for index, each in listed if isinstance(each, dict)}
        self._unused = set(self._values)

    def get(self, name: str) -> Section | None:
        if name not in self._values:
            return None
        self._unused.discard(name)
        value, index = self._values[name]
        return Section(value, ("upstreams", index), self.report)

    def finish(self, report: Report) -> None:
        for name in sorted(self._unused):
            report.left_out(("upstreams", self._values[name][1]), "no service has this upstream")


class _Hosts:
    """The hosts that routes name: a service has those that no other service's route names."""

    def __init__(self) -> None:
        self._wanted: list[tuple[str, str, Path]] = []

    def add_all(self, route: KongRoute, service: str) -> None:
        path = (*route.path, "hosts")
        found = [host(wanted, path, route.report) for wanted in route.hosts]
        self._wanted += [(name, service, path) for name in found if name is not None]

    def settle(self, services: Services, report: Report) -> None:
        for name, service, path in self._wanted:
            if any(other == name and owner != service for other, owner, _ in self._wanted):
                report.changed(path, f"several services share this host: call /api/v1/{service}/ instead")
            elif name not in (found := services.found[service].setdefault("hosts", [])):
                found.append(name)


class _Common(NamedTuple):
    """What services refer to, and the settings of plugins that hold for all."""

    upstreams: _Upstreams
    entities: Entities
    certificates: KongCertificates
    shared: ImportedSettings


class _Read(NamedTuple):
    """A service as read, before its routes are applied."""

    item: Section
    name: str
    service: dict[str, Any]
    routes: list[KongRoute]
    settings: ImportedSettings

    def barriers(self, other: "_Read") -> list[Ranked]:
        """What routes of the other service refuse, if it has the same backend: Kong compares the routes of all."""
        own, its = ({found["url"] for found in each.service["targets"]} for each in (self, other))
        if own.isdisjoint(its) or all(route.strips for route in self.routes):
            return []
        hosts = (
            {host for route in self.routes for host in route.hosts} if all(each.hosts for each in self.routes) else ()
        )
        return [each for route in other.routes for each in route.barriers(other.name, other.settings, hosts)]


def _read_service(item: Section, common: _Common, number: int) -> _Read | None:
    report, name = item.report, item.peek("name") or f"service-{number}"
    report.subject = name
    targets, health = _targets(item, common.upstreams)
    entities = common.entities
    settings = {**common.shared, **kong_plugins.read(entities.plugins(item, "service"))}
    read = [route for each in entities.routes(item) if (route := read_route(each, entities)) is not None]
    item.without_effect(*_NAMES)
    service: dict[str, Any] = {"targets": targets, "timeout": _timeout(item), **health}
    attempts = min(item.whole("retries", RETRIES) + 1, 10)
    service["retries"] = {"attempts": max(attempts, 1)}
    if item.take("enabled", True) is False:
        service["enabled"] = False
    tls = common.certificates.read(item)
    if any(found["url"].startswith("https:") for found in targets):
        service["tls"] = tls
    item.finish()
    if not targets:
        report.left_out(item.path, "the service has no target")
        return None
    return _Read(item, name, service, read, settings)


def _add_service(read: _Read, others: list[_Read], services: Services, hosts: _Hosts) -> None:
    report, routes = read.item.report, read.routes
    barriers = [each for other in others for each in read.barriers(other)]
    called = services.add(read.name, read.item.path, read.service)
    if not routes or not apply_routes(routes, called, read.service, read.settings, barriers):
        report.left_out(read.item.path, "no route leads to the service, which would be open for all paths without one")
        services.found.pop(called)
        return
    for each in routes:
        hosts.add_all(each, called)


def _timeout(item: Section) -> dict[str, str]:
    connect, read, write = (item.number(f"{kind}_timeout", TIMEOUT_MS) / 1000 for kind in ("connect", "read", "write"))
    if read != write:
        item.report.changed((*item.path, "write_timeout"), f"one limit, {duration(read)}, holds in both directions")
    return {"connect": duration(min(connect, 3_600)), "read": duration(min(read, 3_600)), "idle": duration(read)}


def _targets(item: Section, upstreams: _Upstreams) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The service's targets, and the health checks of its upstream."""
    report, path = item.report, item.path
    url = urlsplit(text) if _URL.fullmatch(text := item.peek("url")) else None
    upstream = upstreams.get(url.hostname or "") if url else None
    if "url" in item and upstream is None:
        found = target(item.text("url"), (*path, "url"), report)
        return ([found] if found else []), {}
    item.without_effect("url")
    scheme, name = url.scheme if url else item.text("protocol", "http"), item.text("host")
    prefix = url.path if url else item.text("path")
    upstream = upstream or upstreams.get(name)
    if scheme not in PORTS:
        report.left_out((*path, "protocol"), f"{scheme}: backends speak HTTP/1.1")
        item.without_effect("port")
        return [], {}
    if upstream is None:
        port = item.whole("port", 80)
        suffix = "" if port == PORTS[scheme] else f":{port}"
        found = target(f"{scheme}://{name}{suffix}", (*path, "host"), report, prefix)
        return ([found] if found else []), {}
    item.without_effect("port")
    listed = []
    for each in upstream.items("targets"):
        address = each.text("target")
        address += "" if _PORT.search(address) else f":{TARGET_PORT}"
        found = target(f"{scheme}://{address}", (*each.path, "target"), report, prefix)
        weight = each.number("weight", WEIGHT)
        each.without_effect(*_NAMES)
        each.finish()
        if found:
            listed.append((found, weight))
    return weighted(listed), _health(upstream)


def _health(upstream: Section) -> dict[str, Any]:
    upstream.without_effect(*_NAMES, "slots")
    upstream.default("algorithm", "round-robin")
    upstream.default("hash_on", "none")
    upstream.default("hash_fallback", "none")
    upstream.default("hash_on_cookie_path", "/")
    upstream.default("use_srv_name", False)
    checks = upstream.item("healthchecks")
    upstream.finish()
    checks.default("threshold", 0)
    checks.explain("passive", "a circuit, and the ejection of targets that fail, are always there")
    active = checks.item("active")
    checks.finish()
    healthy, unhealthy = active.item("healthy"), active.item("unhealthy")
    interval = healthy.number("interval", 0) or unhealthy.number("interval", 0)
    unhealthy.without_effect("interval")
    if (kind := active.text("type", "http")) not in ("http", "https"):
        active.report.left_out(active.path, f"a check by {kind[:20]}: health: {{path: …}} asks a target by HTTP")
        return {}
    settings = {
        "path": active.text("http_path", "/"),
        "interval": duration(interval),
        "timeout": duration(active.number("timeout", 1)),
        "up_after": max(healthy.whole("successes", 0), 1),
        "down_after": max(unhealthy.whole("http_failures", 0), unhealthy.whole("timeouts", 0), 1),
    }
    if not interval:
        return {}
    active.default("concurrency", 10)
    active.default("https_verify_certificate", True)
    active.finish()
    healthy.default("http_statuses", [200, 302])
    unhealthy.default("http_statuses", [429, 404, 500, 501, 502, 503, 504, 505])
    unhealthy.without_effect("tcp_failures")
    healthy.finish()
    unhealthy.finish()
    return {"health": settings}
