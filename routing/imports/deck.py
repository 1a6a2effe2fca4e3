"""decK's files, and Kong's own for its mode without a database: https://developer.konghq.com/deck/reference/entities."""

from typing import Any, Final

from routing.configuration.faults import Path
from routing.imports import kong_plugins
from routing.imports.building import Services, compact, duration, host, route_pattern, target, weighted
from routing.imports.regular_paths import pattern_of
from routing.imports.report import Imported, Item, Report

PRODUCT: Final = "decK"
PORTS: Final = {"http": 80, "https": 443}
TIMEOUT_MS: Final = 60_000
RETRIES: Final = 5
WEIGHT: Final = 100
_NAMES: Final = ("id", "name", "tags", "created_at", "updated_at")


def is_deck(structure: dict[str, Any]) -> bool:
    return "_format_version" in structure


def convert(structure: dict[str, Any]) -> Imported:
    report = Report()
    top = Item(structure, (), report)
    top.without_effect("_format_version", "_comment", "_ignore")
    top.default("_transform", True)
    top.explain("_info", "defaults and tags of decK itself: write the file with `deck file render` first")
    upstreams = _Upstreams(top)
    shared = kong_plugins.read(top.items("plugins"))
    services = Services(report)
    hosts = _Hosts()
    for item in top.items("services"):
        _service(item, upstreams, shared, services, hosts)
    hosts.settle(services, report)
    upstreams.finish(report)
    top.explain("routes", "nest routes in their services")
    top.explain("consumers", "create consumers and their keys with `apikey create`: keys are never part of a file")
    top.explain("consumer_groups", "see plans and teams")
    top.explain("certificates", "TLS ends in a proxy ahead of the gateway")
    top.explain("ca_certificates", "set CLIENT_CA for client certificates")
    top.explain("vaults", "secrets are variables GATEWAY_SECRET_… or files")
    top.finish()
    return Imported(PRODUCT, services.document(), tuple(report.notes))


class _Upstreams:
    """Upstreams by name. Several services may use one."""

    def __init__(self, top: Item) -> None:
        self.report = top.report
        found = top.take("upstreams", [])
        listed = enumerate(found if isinstance(found, list) else ())
        self._values = {str(each.get("name")): (each, index) for index, each in listed if isinstance(each, dict)}
        self._unused = set(self._values)

    def get(self, name: str) -> Item | None:
        if name not in self._values:
            return None
        self._unused.discard(name)
        value, index = self._values[name]
        return Item(value, ("upstreams", index), self.report)

    def finish(self, report: Report) -> None:
        for name in sorted(self._unused):
            report.left_out(("upstreams", self._values[name][1]), "no service has this upstream")


class _Hosts:
    """The hosts that routes name: a service has those that no other service's route names."""

    def __init__(self) -> None:
        self._wanted: list[tuple[str, str, Path]] = []

    def add_all(self, route: "_Route", service: str) -> None:
        path = (*route.path, "hosts")
        found = [host(wanted, path, route.report) for wanted in route.hosts]
        self._wanted += [(name, service, path) for name in found if name is not None]

    def settle(self, services: Services, report: Report) -> None:
        for name, service, path in self._wanted:
            if any(other == name and owner != service for other, owner, _ in self._wanted):
                report.changed(path, f"several services share this host: call /api/v1/{service}/ instead")
            elif name not in (found := services.found[service].setdefault("hosts", [])):
                found.append(name)


def _service(
    item: Item, upstreams: _Upstreams, shared: kong_plugins.Settings, services: Services, hosts: _Hosts
) -> None:
    report, name = item.report, item.text("name") or f"service-{len(services.found) + 1}"
    report.subject = name
    targets, health = _targets(item, upstreams)
    settings = {**shared, **kong_plugins.read(item.items("plugins"))}
    routes = item.items("routes")
    item.without_effect(*_NAMES)
    service: dict[str, Any] = {"targets": targets, "timeout": _timeout(item), **health}
    attempts = min(item.whole("retries", RETRIES) + 1, 10)
    service["retries"] = {"attempts": max(attempts, 1)}
    if item.take("enabled", True) is False:
        service["enabled"] = False
    item.explain("client_certificate", "certificates for backends are not supported")
    item.explain("ca_certificates", "backends are verified with the system's certificates")
    if item.take("tls_verify") is False:
        report.changed((*item.path, "tls_verify"), "certificates of backends are always verified")
    item.default("tls_verify_depth", 1)
    item.finish()
    if not targets:
        report.left_out(item.path, "the service has no target")
        return
    read = [route for each in routes if (route := _read_route(each)) is not None]
    called = services.add(name, item.path, service)
    if not read or not _apply(read, called, service, settings):
        report.left_out(item.path, "no route leads to the service, which would be open for all paths without one")
        services.found.pop(called)
        return
    for each in read:
        hosts.add_all(each, called)


def _timeout(item: Item) -> dict[str, str]:
    connect, read, write = (item.number(f"{kind}_timeout", TIMEOUT_MS) / 1000 for kind in ("connect", "read", "write"))
    if read != write:
        item.report.changed((*item.path, "write_timeout"), f"one limit, {duration(read)}, holds in both directions")
    return {"connect": duration(min(connect, 3_600)), "read": duration(min(read, 3_600)), "idle": duration(read)}


def _targets(item: Item, upstreams: _Upstreams) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The service's targets, and the health checks of its upstream."""
    report, path = item.report, item.path
    if "url" in item:
        found = target(item.text("url"), (*path, "url"), report)
        return ([found] if found else []), {}
    scheme, name = item.text("protocol", "http"), item.text("host")
    prefix = item.text("path")
    upstream = upstreams.get(name)
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
        found = target(f"{scheme}://{each.text('target')}", (*each.path, "target"), report, prefix)
        weight = each.number("weight", WEIGHT)
        each.without_effect(*_NAMES)
        each.finish()
        if found:
            listed.append((found, weight))
    return weighted(listed), _health(upstream)


def _health(upstream: Item) -> dict[str, Any]:
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
    settings = {
        "path": active.text("http_path", "/"),
        "interval": duration(interval),
        "timeout": duration(active.number("timeout", 1)),
        "up_after": max(healthy.whole("successes", 0), 1),
        "down_after": max(unhealthy.whole("http_failures", 0), unhealthy.whole("timeouts", 0), 1),
    }
    if not interval:
        return {}
    active.default("type", "http", "https")
    active.default("concurrency", 10)
    active.default("https_verify_certificate", True)
    active.finish()
    healthy.default("http_statuses", [200, 302])
    unhealthy.default("http_statuses", [429, 404, 500, 501, 502, 503, 504, 505])
    unhealthy.without_effect("tcp_failures")
    healthy.finish()
    unhealthy.finish()
    return {"health": settings}


def _read_route(item: Item) -> "_Route | None":
    """The route; None, with a note, if it matches by what routes here do not match by: it would be open for more."""
    found = [key for key in _MATCHING if item.take(key)]
    if found:
        item.report.left_out(item.path, f"routes match by method and path, not by {' and '.join(found)}")
        return None
    return _Route(item)


def _apply(routes: "list[_Route]", name: str, service: dict[str, Any], shared: kong_plugins.Settings) -> bool:
    """Routes whose prefix is removed leave the service's whole path; others keep theirs. Whether there are any."""
    own = [made for each in routes if not each.strips for made in each.routes(shared)]
    service.update(compact_settings(shared))
    if any(each.preserve_host for each in routes):
        service["preserve_host"] = True
    stripping = [each for each in routes if each.strips]
    if stripping:
        _compare(stripping, name)
        own.append({"path": "/*", **stripping[0].allowed, **compact_settings({**shared, **stripping[0].settings})})
    if len(own) == 1 and own[0]["path"] == "/*" and "methods" not in own[0]:
        service.update({key: value for key, value in own[0].items() if key != "path"})
    elif own:
        service["routes"] = own
    return bool(own)


def _compare(routes: "list[_Route]", name: str) -> None:
    """Note what clients have to change, and which of these routes, which are one here, differ."""
    first = routes[0]
    for each in routes:
        for prefix in each.paths:
            text = f"{prefix} is removed from paths: call /api/v1/{name}/ instead"
            each.report.changed((*each.path, "paths"), text)
        if each.settings != first.settings or each.methods != first.methods:
            text = f"its methods and plugins differ from those of {first.name}, for the same paths"
            each.report.left_out(each.path, text)


def compact_settings(settings: kong_plugins.Settings) -> dict[str, Any]:
    """The settings of a service or route: without a plugin, anybody may call, and nothing is stored."""
    return compact({"auth": "none", "cache": False, **settings})


class _Route:
    """One route as read. `settings` are those of its plugins."""

    def __init__(self, item: Item) -> None:
        self.report, self.path, self.name = item.report, item.path, item.text("name") or "the first route"
        self.paths, self.methods = item.texts("paths") or ["/"], [each.upper() for each in item.texts("methods")]
        self.hosts, self.preserve_host = item.texts("hosts"), item.take("preserve_host", False) is True
        self.settings = kong_plugins.read(item.items("plugins"))
        is_regular = any(each.startswith("~") for each in self.paths)
        self.strips = item.take("strip_path", True) is not False and self.paths != ["/"] and not is_regular
        item.without_effect(*_NAMES)
        item.default("protocols", ["http", "https"], ["https", "http"], ["https"], ["http"])
        for key, value in _DEFAULTS.items():
            item.default(key, value)
        item.finish()

    @property
    def allowed(self) -> dict[str, Any]:
        return {"methods": self.methods} if self.methods else {}

    def routes(self, shared: kong_plugins.Settings) -> list[dict[str, Any]]:
        settings = compact_settings({**shared, **self.settings}) if self.settings else {}
        found = []
        for index, text in enumerate(self.paths):
            path = (*self.path, "paths", index)
            if text.startswith("~"):
                pattern = pattern_of(text[1:], path, self.report)
            else:
                pattern = route_pattern(text, path, self.report, is_prefix=True)
            if pattern is not None:
                found.append({"path": pattern, **self.allowed, **settings})
        return found


_MATCHING: Final = ("headers", "snis", "sources", "destinations", "expression")
_DEFAULTS: Final[dict[str, object]] = {
    "https_redirect_status_code": 426,
    "path_handling": "v0",
    "regex_priority": 0,
    "request_buffering": True,
    "response_buffering": True,
}
