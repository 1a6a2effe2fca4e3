"""KrakenD's configuration, versions 2 and 3: https://www.krakend.io/docs/configuration/structure/."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

from routing.configuration.faults import Path
from routing.imports.building import Services, compact, duration, methods, rate, route_pattern, seconds_of, target
from routing.imports.cors import read_cors
from routing.imports.krakend_components import component, has_component, is_no_http, makes_requests
from routing.imports.report import Imported, Report, Section
from routing.imports.route_order import Ranked, arranged, specificity

PRODUCT: Final = "KrakenD"
TIMEOUT: Final = "2s"
MIN_TIMEOUT: Final = 0.001
_ABOUT: Final = ("$schema", "name", "@comment", "comment")
_RATE: Final = "qos/ratelimit/router"
_PROXY_RATE: Final = "qos/ratelimit/proxy"
_AUTH: Final = "auth/validator"
_FILTERS: Final = ("allow", "deny", "whitelist", "blacklist", "target")
"""What KrakenD takes out of the backend's response, under its present and former names."""


def is_krakend(structure: dict[str, Any]) -> bool:
    return "endpoints" in structure and structure.get("version") in (2, 3)


def convert(structure: dict[str, Any]) -> Imported:
    report = Report()
    top = Section(structure, (), report)
    top.without_effect(*_ABOUT, "version", "debug_endpoint", "echo_endpoint", "sequential_start")
    common = _Common(top, report)
    tls = top.item("tls")
    if tls.take("enable_mtls"):
        common.require(tls.path, "clients need a key or a token instead of a certificate")
    elif tls.names:
        report.left_out(tls.path, "TLS ends in a proxy ahead of the gateway")
    for key in ("port", "listen_ip", "read_timeout", "write_timeout", "idle_timeout", "read_header_timeout"):
        top.explain(key, "a setting of the server: HOST and PORT, TLS in a proxy ahead")
    top.explain("cache_ttl", "a field for clients alone: backends' Cache-Control is passed on")
    top.explain("async_agent", "see webhooks")
    top.default("output_encoding", "json", "no-op")
    for endpoint in top.items("endpoints"):
        _endpoint(endpoint, common)
    top.finish()
    common.finish()
    return Imported(PRODUCT, {**common.services.document(), **common.sections()}, tuple(report.notes))


class _Common:
    """What endpoints share: the services, of which each set of hosts is one, and the issuers of tokens."""

    def __init__(self, top: Section, report: Report) -> None:
        self.report = report
        self.services = Services(report)
        self.hosts, self.timeout = top.texts("host"), top.text("timeout", TIMEOUT)
        self.are_protected = False
        """Whether something asks all callers of all endpoints for a credential."""
        extra = top.item("extra_config")
        self.cors = _cors(extra)
        for key in [key for key in extra.names if key.startswith(_FOR_ALL)]:
            if not _SERVERS.issuperset(extra.item(key).texts("name") or [key]):
                self.require((*extra.path, key), "it may refuse callers, who need a key or a token instead")
            else:
                report.left_out((*extra.path, key))
        extra.finish()
        self._names: dict[tuple[str, ...], str] = {}
        self._issuers: dict[str, dict[str, Any]] = {}
        self._routes: dict[str, list[Ranked]] = {}

    def service(self, hosts: list[str], path: Path) -> tuple[str, dict[str, Any]] | None:
        """The name and the service of these hosts; None, with notes, if they are no targets."""
        key = tuple(hosts)
        if key not in self._names:
            targets = [found for each in hosts if (found := target(_with_scheme(each), (*path, "host"), self.report))]
            if not targets:
                self.report.left_out((*path, "host"), "the backend has no host")
                return None
            auth = "required" if self.are_protected else "none"
            service = {"targets": targets, "auth": auth, "cache": False, **self.cors, "routes": []}
            self._names[key] = self.services.add(_name(targets[0]["url"]), (*path, "host"), service)
        name = self._names[key]
        return name, self.services.found[name]

    def require(self, path: Path, text: str) -> None:
        self.are_protected = True
        self.report.left_out(path, text)

    def add_route(self, service: str, route: dict[str, Any], path: Path) -> None:
        """KrakenD prefers fixed segments, whatever the order in the file."""
        self._routes.setdefault(service, []).append(Ranked(specificity(route["path"]), route, path))

    def finish(self) -> None:
        """Give the services their routes; leave those without any out."""
        for name, routes in self._routes.items():
            made = self.services.found[name]
            made["routes"] = arranged(routes, made, self.report, has_text_prefixes=False)
        self.services.found = {name: made for name, made in self.services.found.items() if made["routes"]}

    def add_issuer(self, issuer: str, audience: list[str], keys: str) -> None:
        found = self._issuers.setdefault(issuer, {"issuer": issuer, "audience": [], "jwks_uri": keys})
        found["audience"] += [each for each in audience if each not in found["audience"]]

    def sections(self) -> dict[str, Any]:
        return {"issuers": [compact(each) for each in self._issuers.values()]} if self._issuers else {}


def _with_scheme(text: str) -> str:
    return text if "://" in text else f"http://{text}"


def _name(url: str) -> str:
    """A service's name, of its first host: `users` of `users.internal`, but `127-0-0-1` of an address."""
    name = urlsplit(url).hostname or "service"
    return name if name.replace(".", "").isdigit() else name.split(".")[0]


def _endpoint(item: Section, common: _Common) -> None:
    report, public = item.report, item.text("endpoint")
    method, backends = item.text("method", "GET").upper(), item.items("backend")
    item.without_effect(*_ABOUT)
    item.default("output_encoding", "no-op")
    item.default("concurrent_calls", 1)
    item.explain("output_encoding", "bodies are passed on as they are")
    item.explain("cache_ttl", "a field for clients alone: backends' Cache-Control is passed on")
    for key in ("input_headers", "input_query_strings", "headers_to_pass", "querystring_params"):
        if item.take(key):
            report.changed(
                (*item.path, key), "all fields and parameters are passed on, but those of the gateway itself"
            )
    timeout = seconds_of(item.text("timeout", common.timeout))
    settings = _router_settings(item.item("extra_config"), common)
    item.finish()
    if len(backends) != 1:
        report.left_out(item.path, f"{method} {public} merges the responses of {len(backends)} backends")
        return
    route = _route(backends[0], method, common)
    if route is None:
        return
    name, made, call = route
    if timeout:
        limit = duration(max(timeout, MIN_TIMEOUT))
        made["timeout"] = {"read": limit, "total": limit}
    made.update(settings)
    common.add_route(name, made, item.path)
    report.changed(item.path, f"{method} {public} is now {made['methods'][0]} /api/v1/{name}{call}")


def _route(item: Section, method: str, common: _Common) -> tuple[str, dict[str, Any], str] | None:
    """The service's name, the new route, and the path that clients call."""
    report = item.report
    call, question, _ = item.text("url_pattern", "/").partition("?")
    found = common.service(item.texts("host") or common.hosts, item.path)
    sent = item.text("method", method).upper()
    item.without_effect(*_ABOUT, "disable_host_sanitize")
    item.default("encoding", "json", "no-op", "safejson", "fast-json")
    item.default("sd", "static")
    extra, service = item.item("extra_config"), found[1] if found else {}
    code = [key for key in extra.names if key.startswith(_CODE) or _OLD_CODE.match(key)]
    for key in code:
        extra.explain(key, "it may refuse callers, who need a key or a token instead")
    made_of = [key for key in extra.names if makes_requests(key)]
    for key in made_of:
        extra.explain(key, "requests are passed on as they are: callers need a key instead")
    others = [key for key in extra.names if is_no_http(key)]
    for key in others:
        extra.take(key)
        report.left_out((*item.path, "extra_config", key), "backends speak HTTP: the endpoint is left out")
    _backend_settings(extra, service)
    filters = [key for key in _FILTERS if item.take(key)]
    for key in filters:
        report.left_out((*item.path, key), "bodies are passed on as they are: callers need a key instead")
    item.finish()
    if question:
        report.left_out((*item.path, "url_pattern"), "parameters that the pattern adds: callers need a key instead")
    pattern = route_pattern(call, (*item.path, "url_pattern"), report)
    allowed = methods([sent], (*item.path, "method"), report)
    if found is None or pattern is None or not allowed or others:
        return None
    made: dict[str, Any] = {"path": pattern, "methods": allowed}
    if question or filters or code or made_of:  # what is asked for or returned may have been restricted
        made["auth"] = "required"
    return found[0], made, pattern


def _backend_settings(extra: Section, service: dict[str, Any]) -> None:
    """Those that KrakenD has for each backend of an endpoint, and this gateway for a service."""
    limit = component(extra, _PROXY_RATE)
    if "max_rate" in limit:
        window = seconds_of(limit.take("every", "1s")) or 1
        found = rate(limit.number("max_rate", 0), window, limit.path, extra.report)
        if found is not None:
            service.setdefault("outbound", {"rate": found})
        limit.without_effect("capacity")
    limit.finish()
    breaker = component(extra, "qos/circuit-breaker")
    if "max_errors" in breaker:
        settings = {
            "failure_threshold": max(breaker.whole("max_errors", 1), 1),
            "window": duration(breaker.number("interval", 60)),
            "open_for": duration(breaker.number("timeout", 10)),
        }
        service.setdefault("breaker", settings)
    breaker.without_effect("name", "log_status_change")
    breaker.finish()
    if has_component(extra, "qos/http-cache"):
        cache = component(extra, "qos/http-cache")
        service["cache"] = {"scope": "shared"} if cache.take("shared") is True else True
        cache.without_effect("max_items", "max_size")
        cache.finish()
    extra.finish()


def _router_settings(extra: Section, common: _Common) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    limit = component(extra, _RATE)
    if "client_max_rate" in limit:
        window = seconds_of(limit.take("every", "1s")) or 1
        found = rate(limit.number("client_max_rate", 0), window, (*limit.path, "client_max_rate"), extra.report)
        if found is not None:
            settings["rate_limit"] = found
    limit.explain("max_rate", "a rate of all callers together: see outbound, or max_concurrency")
    limit.default("strategy", "ip")
    limit.without_effect("client_capacity", "capacity", "cleanup_period", "cleanup_threads", "num_shards", "every")
    limit.finish()
    if has_component(extra, _AUTH):
        settings["auth"] = "required"
        _validator(component(extra, _AUTH), common)
    for key in [key for key in extra.names if _protects(key)]:
        settings["auth"] = "required"
        extra.explain(key, "callers need a key or a token instead")
    extra.finish()
    return settings


_FOR_ALL: Final = ("auth/basic", "plugin/http-server", "security/policies")
"""Of the whole server. Others there have settings for endpoints that name them."""
_SERVERS: Final = frozenset({"geoip", "redis-ratelimit", "static-filesystem", "url-rewrite", "virtualhost", "wildcard"})
"""Plugins of the server that refuse nobody for who calls."""
_CODE: Final = ("modifier/lua", "plugin/", "security/policies", "validation/cel")
"""Code and conditions of the operator's own, of an endpoint or of its backend. They may refuse callers."""
_OLD_CODE: Final = re.compile(r"github[._]com/.*(?:cel|lua|policies)", re.IGNORECASE)
_PROTECTING: Final = ("auth/", *_CODE)
"""Of an endpoint. `auth/…` of a backend is a credential for it."""
_ISSUING: Final = "auth/signer"
"""Of an endpoint that signs tokens, which callers ask for before they have one."""
_OLD: Final = re.compile(r"github[._]com/.*(?:jose|cel|lua|auth|api-?key|policies)", re.IGNORECASE)
"""Names of components before version 2, such as `github_com/devopsfaith/krakend-jose/validator`."""


def _protects(component: str) -> bool:
    """Whether it may refuse callers of an endpoint."""
    return component != _ISSUING and (component.startswith(_PROTECTING) or _OLD.match(component) is not None)


def _validator(item: Section, common: _Common) -> None:
    issuer, audience, keys = item.text("issuer"), item.texts("audience"), item.text("jwk_url")
    if issuer.startswith("https://") and audience:
        common.add_issuer(issuer, audience, keys)
    else:
        common.report.left_out(item.path, "an issuer with https and an audience are needed: see `issuers`")
    item.default("alg", "RS256")
    item.without_effect("cache", "cache_duration", "disable_jwk_security", "jwk_fingerprints", "operation_debug")
    for key in ("roles", "scopes"):
        item.explain(key, "list scopes of the route")
    item.finish()


def _cors(extra: Section) -> dict[str, Any]:
    item = component(extra, "security/cors")
    if "allow_origins" not in item and "allow_methods" not in item:
        item.finish()
        return {}
    cors = read_cors(item, _CORS, seconds_of(item.take("max_age")))
    item.without_effect("debug")
    item.finish()
    return {} if cors is None else {"cors": cors}


_CORS: Final = {
    "origins": "allow_origins",
    "methods": "allow_methods",
    "headers": "allow_headers",
    "expose": "expose_headers",
    "credentials": "allow_credentials",
}
