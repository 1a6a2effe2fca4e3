"""What refuses callers in a file of another gateway still refuses them, whatever the order, place or kind of it.

The routes are asked through the table that the gateway builds of the imported configuration.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from routing.configuration.decode import decode
from routing.configuration.faults import ConfigurationError
from routing.errors import MethodNotAllowed
from routing.imports.products import convert, product_of, read
from routing.imports.report import Imported, NoteKind
from routing.router.policy import Auth
from routing.router.table import RouteTable

VALIDATOR = (
    '"auth/validator": {"issuer": "https://id.example", "audience": ["a"], "jwk_url": "https://id.example/keys"}'
)
SERVERS = "loadBalancer: {servers: [{url: 'http://a.internal'}]}"


def imported(text: str) -> Imported:
    structure = read(text.encode())
    return convert(structure, product_of(structure) or "")


def verdict(found: Imported, service: str, path: str, method: str = "GET") -> str:
    """`open`, `required`, `off`, or `no route`."""
    table = RouteTable(decode(found.structure, lambda _name: "a secret"))
    try:
        match = table.match(service, method, path.encode())
    except MethodNotAllowed:
        return "no route"
    if table.services[service].routes and not match.pattern:
        return "no route"
    if not match.policy.enabled:
        return "off"
    return "open" if match.policy.auth is Auth.NONE else "required"


class Case(NamedTuple):
    """A file, and the verdicts on requests for paths of its service."""

    text: str
    verdicts: dict[str, str]
    service: str = "a"


KONG = '_format_version: "3.0"\n'
PLAIN = f"{KONG}services: [{{name: a, url: 'http://a.internal', routes: ["
CASES = {
    "kong: the wider route is listed first": Case(
        f"""{PLAIN}
        {{paths: [/], strip_path: false}},
        {{paths: [/admin], strip_path: false, plugins: [{{name: key-auth}}]}}]}}]""",
        {"/admin/x": "required", "/x": "open"},
    ),
    "kong: of equal paths the protected one holds": Case(
        f"""{PLAIN}
        {{hosts: [a.example], paths: [/x], strip_path: false}},
        {{hosts: [b.example], paths: [/x], strip_path: false, plugins: [{{name: key-auth}}]}}]}}]""",
        {"/x": "required"},
    ),
    "kong: more kinds of conditions come before longer paths": Case(
        f"""{PLAIN}
        {{paths: [/admin], strip_path: false, plugins: [{{name: key-auth}}]}},
        {{methods: [GET], paths: [/], strip_path: false}}]}}]""",
        {"/admin": "open"},
    ),
    "kong: routes whose prefixes are removed have their methods": Case(
        f"""{PLAIN}
        {{paths: [/read], methods: [POST]}},
        {{paths: [/all], methods: [GET], plugins: [{{name: jwt}}]}}]}}]""",
        {"/x": "required"},
    ),
    "kong: a plugin that it does not have itself": Case(
        f"{PLAIN}{{paths: [/], plugins: [{{name: company-auth}}]}}]}}]", {"/": "required"}
    ),
    "kong: acl": Case(
        f"{PLAIN}{{paths: [/], plugins: [{{name: acl, config: {{allow: [a]}}}}]}}]}}]", {"/": "required"}
    ),
    "kong: code": Case(f"{PLAIN}{{paths: [/], plugins: [{{name: pre-function}}]}}]}}]", {"/": "required"}),
    "kong: a plugin that logs": Case(f"{PLAIN}{{paths: [/], plugins: [{{name: http-log}}]}}]}}]", {"/": "open"}),
    "kong: a plugin that is disabled": Case(
        f"{PLAIN}{{paths: [/], plugins: [{{name: company-auth, enabled: false}}]}}]}}]", {"/": "open"}
    ),
    "kong: request-termination": Case(
        f"""{PLAIN}
        {{paths: [/], strip_path: false}},
        {{paths: [/internal], strip_path: false, plugins: [{{name: request-termination}}]}}]}}]""",
        {"/internal/x": "off", "/x": "open"},
    ),
    "kong: a path that is rewritten": Case(
        f"""{PLAIN}{{paths: [/], plugins:
        [{{name: request-transformer, config: {{replace: {{uri: /public}}}}}}]}}]}}]""",
        {"/": "off"},
    ),
    "kong: routes and plugins at the top": Case(
        f"""{KONG}services: [{{name: a, id: "17", url: "http://a.internal"}}]
routes: [{{name: r, id: "18", service: {{id: "17"}}, paths: [/x], strip_path: false}},
         {{name: s, service: a, paths: [/y], strip_path: false}}]
plugins: [{{name: key-auth, route: r}}]""",
        {"/x": "required", "/y": "open", "/z": "no route"},
    ),
    "kong: a protected route without a pattern comes first": Case(
        f"""{PLAIN}
        {{paths: ['~/admin(?<rest>.+)$'], strip_path: false, plugins: [{{name: key-auth}}]}},
        {{paths: [/], strip_path: false}}]}}]""",
        {"/admin1": "required", "/x": "required"},
    ),
    "kong: an open route without a pattern comes first": Case(
        f"""{PLAIN}
        {{paths: ['~/public(?<rest>.+)$'], strip_path: false}},
        {{paths: [/], strip_path: false}}]}}]""",
        {"/x": "open"},
    ),
    "kong: a protected route by an expression": Case(
        f"""{PLAIN}
        {{expression: 'http.path ^= "/admin"', plugins: [{{name: key-auth}}]}},
        {{paths: [/], strip_path: false}}]}}]""",
        {"/admin": "required"},
    ),
    "kong: a field that callers may leave out protects nothing": Case(
        f"""{PLAIN}
        {{paths: [/], strip_path: false, headers: {{x-a: ["1"]}}, plugins: [{{name: key-auth}}]}},
        {{paths: [/], strip_path: false}}]}}]""",
        {"/x": "open"},
    ),
    "kong: a backend that is told the host": Case(
        f"""{PLAIN}
        {{hosts: [b.example], paths: [/], strip_path: false, preserve_host: true, plugins: [{{name: key-auth}}]}},
        {{hosts: [a.example], paths: [/x], strip_path: false, preserve_host: true}}]}}]""",
        {"/x": "required", "/y": "required"},
    ),
    "kong: a plugin that responds in the backend's place": Case(
        f"{PLAIN}{{paths: [/], plugins: [{{name: mocking}}]}}]}}]", {"/": "off"}
    ),
    "traefik: a protected router without a counterpart comes first": Case(
        f"""http:
  routers:
    admin: {{rule: "PathRegexp(`^/admin`)", service: a, middlewares: [auth]}}
    all: {{rule: "PathPrefix(`/`)", service: a}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/admin": "required", "/x": "required"},
    ),
    "traefik: a protected router without a counterpart comes last": Case(
        f"""http:
  routers:
    admin: {{rule: "PathRegexp(`^/admin`)", service: a, middlewares: [auth], priority: 1}}
    all: {{rule: "PathPrefix(`/open`)", service: a}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/open/x": "open", "/x": "no route"},
    ),
    "traefik: a protected path without a pattern comes first": Case(
        f"""http:
  routers:
    user: {{rule: "PathPrefix(`/users/{{id:[0-9]+}}`)", service: a, middlewares: [auth]}}
    all: {{rule: "PathPrefix(`/`)", service: a}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/users/1": "required"},
    ),
    "traefik: a protected router for any host": Case(
        f"""http:
  routers:
    all: {{rule: "Host(`a.example`)", service: a}}
    admin: {{rule: "PathPrefix(`/administration`)", service: a, middlewares: [auth]}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/administration/x": "required", "/x": "required"},
    ),
    "traefik: one of its hosts alone is protected": Case(
        f"""http:
  routers:
    all: {{rule: "Host(`a.example`)", service: a}}
    admin: {{rule: "(Host(`a.example`) || Host(`b.example`)) && PathPrefix(`/admin`)", service: a, middlewares: [auth]}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/admin/x": "required"},
    ),
    "traefik: a chain of chains": Case(
        f"""http:
  routers: {{a: {{rule: "Host(`a.example`)", service: a, middlewares: [c0]}}}}
  services: {{a: {{{SERVERS}}}}}
  middlewares:
    auth: {{basicAuth: {{users: ["a:b"]}}}}
    c12: {{chain: {{middlewares: [auth]}}}}
"""
        + "".join(f"    c{n}: {{chain: {{middlewares: [c{n + 1}]}}}}\n" for n in range(12)),
        {"/": "required"},
    ),
    "traefik: lists of addresses that have none in common": Case(
        f"""http:
  routers: {{a: {{rule: "Host(`a.example`)", service: a, middlewares: [one, other]}}}}
  services: {{a: {{{SERVERS}}}}}
  middlewares:
    one: {{ipAllowList: {{sourceRange: [10.0.0.0/8]}}}}
    other: {{ipAllowList: {{sourceRange: [192.168.0.0/16]}}}}""",
        {"/": "off"},
    ),
    "traefik: the wider router is listed first": Case(
        f"""http:
  routers:
    all: {{rule: "Host(`a.example`)", service: a}}
    admin: {{rule: "Host(`a.example`) && PathPrefix(`/admin`)", service: a, middlewares: [auth]}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/admin/x": "required", "/x": "open"},
    ),
    "traefik: a priority of its own": Case(
        f"""http:
  routers:
    admin: {{rule: "PathPrefix(`/admin`)", service: a}}
    all: {{rule: "PathPrefix(`/`)", service: a, middlewares: [auth], priority: 100}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{digestAuth: {{users: ["a:b"]}}}}}}""",
        {"/admin/x": "required"},
    ),
    "traefik: a part of the path is removed": Case(
        f"""http:
  routers: {{a: {{rule: "PathPrefix(`/api/reports`)", service: a, middlewares: [strip]}}}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{strip: {{stripPrefix: {{prefixes: [/other, /api]}}}}}}""",
        {"/reports/x": "open", "/admin": "no route", "/api/reports": "no route"},
    ),
    "traefik: all of the path is removed": Case(
        f"""http:
  routers: {{a: {{rule: "Path(`/api`)", service: a, middlewares: [strip]}}}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{strip: {{stripPrefix: {{prefixes: [/api/v1, /api]}}}}}}""",
        {"/": "open", "/x": "no route"},
    ),
    "traefik: a plugin": Case(
        f"""http:
  routers: {{a: {{rule: "Host(`a.example`)", service: a, middlewares: [oidc]}}}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{oidc: {{plugin: {{traefik-oidc: {{provider: x}}}}}}}}""",
        {"/": "required"},
    ),
    "traefik: a path that is rewritten": Case(
        f"""http:
  routers: {{a: {{rule: "Host(`a.example`)", service: a, middlewares: [rewrite]}}}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{rewrite: {{replacePath: {{path: /public}}}}}}""",
        {"/": "off"},
    ),
    "traefik: client certificates": Case(
        f"""http:
  routers: {{a: {{rule: "Host(`a.example`)", service: a, tls: {{options: mutual}}}}}}
  services: {{a: {{{SERVERS}}}}}
tls: {{options: {{mutual: {{clientAuth: {{clientAuthType: RequireAndVerifyClientCert}}}}}}}}""",
        {"/": "required"},
    ),
    "traefik: settings in other letters": Case(
        f"""http:
  Routers: {{a: {{Rule: "Host(`a.example`)", Service: a, TLS: {{Options: mutual}}}}}}
  services: {{a: {{{SERVERS.replace("loadBalancer", "loadbalancer")}}}}}
tls: {{options: {{mutual: {{clientauth: {{clientauthtype: RequireAndVerifyClientCert}}}}}}}}""",
        {"/": "required"},
    ),
    "traefik: middlewares in other letters": Case(
        f"""http:
  routers: {{a: {{rule: "PathPrefix(`/api`)", service: a, Middlewares: [auth, Name]}}}}
  services: {{a: {{{SERVERS.replace("loadBalancer", "LoadBalancer")}}}}}
  middlewares: {{auth: {{basicauth: {{users: ["a:b"]}}}}, Name: {{stripprefix: {{Prefixes: [/api]}}}}}}""",
        {"/x": "required"},
    ),
    "traefik: client certificates by default": Case(
        f"""http:
  routers: {{a: {{rule: "Host(`a.example`)", service: a, tls: {{certResolver: le}}}}}}
  services: {{a: {{{SERVERS}}}}}
tls: {{options: {{default: {{clientAuth: {{clientAuthType: RequireAnyClientCert}}}}}}}}""",
        {"/": "required"},
    ),
    "traefik: TLS options of another file": Case(
        f"""http:
  routers: {{a: {{rule: "Host(`a.example`)", service: a, tls: {{options: elsewhere}}}}}}
  services: {{a: {{{SERVERS}}}}}""",
        {"/": "required"},
    ),
    "traefik: TLS options without client certificates": Case(
        f"""http:
  routers: {{a: {{rule: "Host(`a.example`)", service: a, tls: {{options: modern}}}}}}
  services: {{a: {{{SERVERS}}}}}
tls: {{options: {{modern: {{minVersion: VersionTLS13, clientAuth: {{clientAuthType: RequestClientCert}}}}}}}}""",
        {"/": "open"},
    ),
    "traefik: another service of the same backend": Case(
        f"""http:
  routers:
    admin: {{rule: "Host(`a.example`) && PathPrefix(`/admin`)", service: b, middlewares: [auth]}}
    all: {{rule: "Host(`a.example`)", service: a}}
  services: {{a: {{{SERVERS}}}, b: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/admin/x": "required", "/x": "required"},
    ),
    "traefik: another service of the same backend for another host": Case(
        f"""http:
  routers:
    admin: {{rule: "Host(`b.example`) && PathPrefix(`/admin`)", service: b, middlewares: [auth]}}
    all: {{rule: "Host(`a.example`)", service: a}}
  services: {{a: {{{SERVERS}}}, b: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/admin/x": "open"},
    ),
    "traefik: another service of the same backend, behind a prefix": Case(
        f"""http:
  routers:
    admin: {{rule: "Host(`a.example`) && PathPrefix(`/staff`)", service: b, middlewares: [auth, strip]}}
    all: {{rule: "Host(`a.example`)", service: a}}
  services: {{a: {{{SERVERS}}}, b: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}, strip: {{stripPrefix: {{prefixes: [/staff]}}}}}}""",
        {"/x": "open"},
    ),
    "kong: another service of the same backend": Case(
        f"""{KONG}services:
- {{name: b, url: "http://a.internal", plugins: [{{name: key-auth}}], routes: [{{paths: [/admin], strip_path: false}}]}}
- {{name: a, url: "http://a.internal", routes: [{{paths: [/], strip_path: false}}]}}""",
        {"/admin/x": "required", "/x": "required"},
    ),
    "kong: another service of the same backend for other paths": Case(
        f"""{KONG}services:
- {{name: b, url: "http://a.internal", plugins: [{{name: key-auth}}], routes: [{{paths: [/users], strip_path: false}}]}}
- {{name: a, url: "http://a.internal", routes: [{{paths: [/pub], strip_path: false}}]}}""",
        {"/pub/x": "open", "/users/x": "no route"},
    ),
    "traefik: another service of the same backend for other paths": Case(
        f"""http:
  routers:
    users: {{rule: "PathPrefix(`/users/{{id}}`)", service: b, middlewares: [auth]}}
    public: {{rule: "PathPrefix(`/pub`)", service: a}}
  services: {{a: {{{SERVERS}}}, b: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""",
        {"/pub/x": "open", "/users/x": "no route"},
    ),
    "kong: another service of the same backend with more conditions": Case(
        f"""{KONG}services:
- {{name: b, url: "http://a.internal", plugins: [{{name: key-auth}}], routes: [{{paths: [/], strip_path: false}}]}}
- {{name: a, url: "http://a.internal", routes: [{{paths: [/public], strip_path: false}}]}}
- {{name: c, url: "http://a.internal", plugins: [{{name: key-auth}}], routes: [{{paths: [/public/x]}}]}}
- name: d
  url: http://a.internal
  plugins: [{{name: key-auth}}]
  routes: [{{hosts: [d.example], paths: [/public/y], strip_path: false}}]
- {{name: e, url: "http://e.internal", plugins: [{{name: key-auth}}], routes: [{{paths: [/public/z]}}]}}""",
        {"/public/y": "required"},
    ),
    "kong: a wider service of the same backend": Case(
        f"""{KONG}services:
- {{name: b, url: "http://a.internal", plugins: [{{name: key-auth}}], routes: [{{paths: [/], strip_path: false}}]}}
- {{name: a, url: "http://a.internal", routes: [{{paths: [/public], strip_path: false}}]}}
- {{name: c, url: "http://a.internal", plugins: [{{name: key-auth}}], routes: [{{paths: [/public/x]}}]}}
- {{name: e, url: "http://e.internal", plugins: [{{name: key-auth}}], routes: [{{paths: [/public/z]}}]}}""",
        {"/public/y": "open"},
    ),
    "krakend: the wider endpoint is listed first": Case(
        f"""{{"version": 3, "host": ["http://a"], "endpoints": [
        {{"endpoint": "/users/{{id}}", "backend": [{{"url_pattern": "/users/{{id}}"}}]}},
        {{"endpoint": "/users/admin", "extra_config": {{{VALIDATOR}}}, "backend": [{{"url_pattern": "/users/admin"}}]}}
        ]}}""",
        {"/users/admin": "required", "/users/7": "open"},
    ),
    "krakend: two endpoints for one path of the backend": Case(
        f"""{{"version": 3, "host": ["http://a"], "endpoints": [
        {{"endpoint": "/a/{{id}}", "backend": [{{"url_pattern": "/x/{{id}}"}}]}},
        {{"endpoint": "/b/{{name}}", "extra_config": {{{VALIDATOR}}}, "backend": [{{"url_pattern": "/x/{{name}}"}}]}}
        ]}}""",
        {"/x/7": "required"},
    ),
    "krakend: names of components before version 2": Case(
        """{"version": 2, "host": ["http://a"], "endpoints": [
        {"endpoint": "/x", "extra_config": {"github.com/devopsfaith/krakend-jose/validator": {"alg": "RS256"}},
         "backend": [{"url_pattern": "/x"}]},
        {"endpoint": "/y", "extra_config": {"github_com/devopsfaith/krakend-cel": [{"check_expr": "JWT.a"}]},
         "backend": [{"url_pattern": "/y"}]},
        {"endpoint": "/z", "extra_config": {"github.com/devopsfaith/krakend-ratelimit/juju/router": {"maxRate": 1}},
         "backend": [{"url_pattern": "/z"}]}]}""",
        {"/x": "required", "/y": "required", "/z": "open"},
    ),
    "krakend: what restricts responses": Case(
        """{"version": 3, "host": ["http://a"], "endpoints": [
        {"endpoint": "/x", "backend": [{"url_pattern": "/x?visibility=public"}]},
        {"endpoint": "/fields", "backend": [{"url_pattern": "/fields", "deny": ["password"]}]},
        {"endpoint": "/y", "backend": [{"url_pattern": "/y", "allow": [], "mapping": {"a": "b"}}]}]}""",
        {"/x": "required", "/fields": "required", "/y": "open"},
    ),
    "krakend: policies and plugins": Case(
        """{"version": 3, "host": ["http://a"], "endpoints": [
        {"endpoint": "/x", "extra_config": {"validation/cel": [{}]}, "backend": [{"url_pattern": "/x"}]},
        {"endpoint": "/y", "extra_config": {"plugin/req-resp-modifier": {"name": ["a"]}},
         "backend": [{"url_pattern": "/y"}]},
        {"endpoint": "/login", "extra_config": {"auth/signer": {}}, "backend": [{"url_pattern": "/login"}]}
        ]}""",
        {"/x": "required", "/y": "required", "/login": "open"},
    ),
    "krakend: code of an endpoint and of its backend": Case(
        """{"version": 3, "host": ["http://a.internal"], "endpoints": [
        {"endpoint": "/1", "extra_config": {"modifier/lua-endpoint": {"pre": "a()"}},
         "backend": [{"url_pattern": "/lua"}]},
        {"endpoint": "/2", "backend": [
         {"url_pattern": "/b", "extra_config": {"modifier/lua-backend": {"pre": "a()"}}}]},
        {"endpoint": "/3", "backend": [
         {"url_pattern": "/p", "extra_config": {"plugin/http-client": {"name": "own"}}}]},
        {"endpoint": "/4", "backend": [
         {"url_pattern": "/old", "extra_config": {"github.com/devopsfaith/krakend-lua/proxy": {"pre": "a()"}}}]},
        {"endpoint": "/5", "backend": [
         {"url_pattern": "/token", "extra_config": {"auth/client-credentials": {"client_id": "c"}}}]}]}""",
        {"/lua": "required", "/b": "required", "/p": "required", "/old": "required", "/token": "open"},
    ),
    "krakend: backends that are no HTTP servers": Case(
        """{"version": 3, "host": ["http://a.internal"], "endpoints": [
        {"endpoint": "/1", "backend": [
         {"url_pattern": "/lambda", "extra_config": {"backend/lambda": {"function_name": "f"}}}]},
        {"endpoint": "/2", "backend": [
         {"url_pattern": "/queue", "extra_config": {"github.com/devopsfaith/krakend-amqp/produce": {"name": "q"}}}]},
        {"endpoint": "/3", "backend": [{"url_pattern": "/files", "extra_config": {"backend/static-filesystem": {}}}]},
        {"endpoint": "/4", "backend": [{"url_pattern": "/open"}]}]}""",
        {"/lambda": "no route", "/queue": "no route", "/files": "no route", "/open": "open"},
    ),
    "krakend: requests that it makes itself": Case(
        """{"version": 3, "host": ["http://a.internal"], "endpoints": [
        {"endpoint": "/1", "backend": [
         {"url_pattern": "/graphql", "extra_config": {"backend/graphql": {"type": "query", "query": "{me}"}}}]},
        {"endpoint": "/2", "backend": [
         {"url_pattern": "/tenant", "extra_config": {"modifier/martian": {"querystring.Modifier": {}}}}]},
        {"endpoint": "/3", "backend": [
         {"url_pattern": "/old", "extra_config": {"github.com/devopsfaith/krakend-martian": {"a": {}}}}]}]}""",
        {"/graphql": "required", "/tenant": "required", "/old": "required"},
    ),
    "krakend: what holds for all endpoints": Case(
        """{"version": 3, "host": ["http://a"], "extra_config": {"plugin/http-server": {"name": ["ip-filter"]}},
        "endpoints": [{"endpoint": "/x", "backend": [{"url_pattern": "/x"}]}]}""",
        {"/x": "required"},
    ),
    "krakend: a plugin that serves files": Case(
        """{"version": 3, "host": ["http://a"], "extra_config": {"plugin/http-server": {"name": ["virtualhost"]}},
        "endpoints": [{"endpoint": "/x", "backend": [{"url_pattern": "/x"}]}]}""",
        {"/x": "open"},
    ),
    "krakend: client certificates": Case(
        """{"version": 3, "host": ["http://a"], "tls": {"enable_mtls": true},
        "endpoints": [{"endpoint": "/x", "backend": [{"url_pattern": "/x"}]}]}""",
        {"/x": "required"},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_nothing_that_is_protected_becomes_open(case: Case) -> None:
    found = imported(case.text)
    assert {path: verdict(found, case.service, path) for path in case.verdicts} == case.verdicts


def test_a_backend_that_is_told_the_host_is_one_service_for_each_kind_of_protection() -> None:
    found = imported(f"""http:
  routers:
    public: {{rule: "Host(`www.example`)", service: a}}
    staff: {{rule: "Host(`staff.example`)", service: a, middlewares: [auth]}}
    both: {{rule: "Host(`staff.example`) && PathPrefix(`/open`)", service: a}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{forwardAuth: {{address: "http://auth"}}}}}}""")
    services = found.structure["services"]
    assert {name: each["hosts"] for name, each in services.items()} == {"a": ["www.example"], "a-2": ["staff.example"]}
    assert [verdict(found, name, "/x") for name in services] == ["open", "required"]
    assert verdict(found, "a-2", "/open/x") == "open"


@pytest.mark.parametrize("names", ["all, lan", "lan, all", "chain, all"])
def test_a_request_passes_all_middlewares_of_its_router(names: str) -> None:
    found = imported(f"""http:
  routers: {{a: {{rule: "PathPrefix(`/`)", service: a, middlewares: [one, {names}, two]}}}}
  services: {{a: {{{SERVERS}}}}}
  middlewares:
    lan: {{ipAllowList: {{sourceRange: [10.0.0.0/8]}}}}
    all: {{ipAllowList: {{sourceRange: [0.0.0.0/0]}}}}
    chain: {{chain: {{middlewares: [lan]}}}}
    one: {{headers: {{customRequestHeaders: {{X-A: "1"}}}}, rateLimit: {{average: 5}}, inFlightReq: {{amount: 9}}}}
    two: {{headers: {{customRequestHeaders: {{X-B: "2"}}}}, rateLimit: {{average: 90}}, inFlightReq: {{amount: 3}}}}""")
    service = found.structure["services"]["a"]
    assert service["ip"] == {"allow": ["10.0.0.0/8"]}
    assert service["headers"] == {"X-A": "1", "X-B": "2"}
    assert (service["rate_limit"], service["max_concurrency"]) == ("5/s", 3)


def test_a_rule_whose_alternatives_are_not_in_parentheses_is_left_out() -> None:
    """`&&` binds before `||`, so that the first host has all paths."""
    text = f"""http:
  routers:
    a: {{rule: "Host(`a.example`) || Host(`b.example`) && PathPrefix(`/x`)", service: a}}
    b: {{rule: "(Host(`c.example`) || Host(`d.example`)) && PathPrefix(`/y`)", service: a}}
  services: {{a: {{{SERVERS}}}}}"""
    found = imported(text)
    assert found.structure["services"]["a"]["hosts"] == ["c.example", "d.example"]
    assert [note.path for note in found.notes if note.kind is NoteKind.LEFT_OUT] == ["http.routers.a.rule"]


def test_what_can_be_reached_in_more_ways_than_before_is_reported() -> None:
    """A prefix of Kong and Traefik is a text, one of a route here has whole segments."""
    found = imported(f"""http:
  routers:
    admin: {{rule: "PathPrefix(`/admin`)", service: a, middlewares: [auth], entryPoints: [websecure]}}
    all: {{rule: "PathPrefix(`/`)", service: a, entryPoints: [internal]}}
  services: {{a: {{{SERVERS}}}}}
  middlewares: {{auth: {{basicAuth: {{users: ["a:b"]}}}}}}""")
    notes = {(note.path, note.text) for note in found.notes if note.kind is NoteKind.CHANGED}
    text = "also leads to paths that begin with /admin without a slash after it, which needed a credential"
    assert ("http.routers.all.rule", text) in notes
    assert ("http.routers.all.entryPoints", "services are called at every address of the gateway") in notes
    assert not any(path == "http.routers.admin.entryPoints" for path, _ in notes)


def test_a_plugin_of_one_service_or_consumer_is_not_one_of_all() -> None:
    """Least of all a cache: nothing is stored that was not."""
    found = imported(f"""{KONG}
services:
- {{name: a, url: "http://a.internal", routes: [{{name: ra, paths: [/a]}}]}}
- {{name: b, url: "http://b.internal", routes: [{{name: rb, paths: [/b]}}]}}
plugins:
- {{name: proxy-cache, service: {{name: b}}, config: {{cache_ttl: 60}}}}
- {{name: cors, route: ra, config: {{origins: ["*"]}}}}
- {{name: rate-limiting, consumer: bob, config: {{minute: 5}}}}
- {{name: key-auth, service: gone}}""")
    services = found.structure["services"]
    assert (services["a"]["cache"], services["b"]["cache"]) == (False, {"ttl": 60})
    assert ("cors" in services["a"], "cors" in services["b"]) == (True, False)
    assert not any("rate_limit" in each for each in services.values())
    left = {note.path: note.text for note in found.notes if note.kind is NoteKind.LEFT_OUT}
    assert "consumer" in left["plugins[2]"]
    assert "gone is not in this file" in left["plugins[3]"]


def test_the_address_of_a_service_may_be_an_upstream() -> None:
    """A target without a port is at 8000, one that is listed twice is one, and a check by TCP is none by HTTP."""
    found = imported(f"""{KONG}
upstreams:
- name: up
  targets: [{{target: "10.0.0.1"}}, {{target: "10.0.0.2:80", weight: 50}}, {{target: "10.0.0.2:80", weight: 50}}]
  healthchecks: {{active: {{type: tcp, healthy: {{interval: 5}}, unhealthy: {{interval: 5}}}}}}
services: [{{name: a, url: "http://up/base", routes: [{{paths: [/a]}}]}}]""")
    service = found.structure["services"]["a"]
    assert service["targets"] == [{"url": "http://10.0.0.1:8000/base"}, {"url": "http://10.0.0.2:80/base"}]
    assert "health" not in service


@pytest.mark.parametrize("credentials", [True, False])
def test_what_cors_cannot_express_is_reported_and_the_rest_imported(credentials: bool) -> None:
    found = imported(f"""{KONG}
services:
- name: a
  url: http://a.internal
  routes: [{{paths: [/a]}}]
  plugins:
  - name: cors
    config: {{origins: ["https://.*\\\\.example", "https://a.example/"], methods: [get, CONNECT], headers: ["*"],
              credentials: {str(credentials).lower()}, max_age: 100000}}""")
    cors = found.structure["services"]["a"]["cors"]
    expected: dict[str, Any] = {"origins": ["https://a.example"], "methods": ["GET"], "max_age": "86400s"}
    assert cors == {**expected, **({"credentials": True} if credentials else {})}
    assert sum("config." in note.path for note in found.notes if note.kind is NoteKind.LEFT_OUT) == 2


@pytest.mark.parametrize(
    ("model", "service"),
    [
        ("claude-3-opus", "anthropic"),
        ("gpt-4o", "openai"),
        ("o3-mini", "openai"),
        ("command-r", "cohere"),
        ("gemini-1.5-pro", None),
        ("*", None),
    ],
)
def test_a_key_is_sent_to_no_other_provider_than_its_own(model: str, service: str | None) -> None:
    """Models that are named without their provider: what the name does not tell is left out."""
    text = f"""model_list:
- {{model_name: known, litellm_params: {{model: openai/gpt-4o, api_key: os.environ/A}}}}
- {{model_name: other, litellm_params: {{model: "{model}", api_key: os.environ/A}}}}"""
    found = imported(text)
    assert set(found.structure["services"]) == {"openai", *([service] if service else [])}
    named = [note.text for note in found.notes if note.kind is NoteKind.LEFT_OUT]
    assert any("PROVIDER/MODEL" in each for each in named) is (service is None)


def test_the_provider_path_and_timeout_of_a_model() -> None:
    found = imported("""model_list:
- model_name: vectors
  litellm_params: {model: azure/vectors-eu, api_base: "https://t.openai.azure.com", timeout: "300"}
  model_info: {mode: embedding}
- model_name: own
  litellm_params: {model: team/llama, custom_llm_provider: openai, api_base: "http://vllm:8000/v1"}""")
    changed = [note.text for note in found.notes if note.kind is NoteKind.CHANGED]
    assert "the model vectors is vectors-eu at /api/v1/azure/openai/deployments/vectors-eu/embeddings" in changed
    assert "the model own is team/llama at /api/v1/openai/v1/chat/completions" in changed
    assert found.structure["services"]["azure"]["timeout"] == {"read": "300s", "total": "300s"}


def test_the_addresses_that_may_call_litellm_may_call_all_of_its_models() -> None:
    found = imported("""
model_list:
- {model_name: a, litellm_params: {model: openai/gpt-4o, api_key: os.environ/A}}
- {model_name: b, litellm_params: {model: groq/llama, api_key: os.environ/B}}
general_settings: {allowed_ips: ["10.0.0.1", "192.168.1.0/24"]}""")
    services = found.structure["services"].values()
    assert [each["ip"] for each in services] == [{"allow": ["10.0.0.1", "192.168.1.0/24"]}] * 2


def test_anchors_aliases_and_merges_are_written_out() -> None:
    found = imported(f"""{KONG}
x-limit: &limit {{name: rate-limiting, config: {{minute: 5}}}}
x-base: &base {{url: "http://a.internal", retries: 2, plugins: [*limit]}}
services:
- <<: *base
  name: a
  retries: 0
  routes: [{{paths: [/a]}}]
- {{name: b, <<: [*base], routes: [{{paths: [/b]}}]}}""")
    services = found.structure["services"]
    assert [each["rate_limit"] for each in services.values()] == ["5/m", "5/m"]
    assert [each["retries"]["attempts"] for each in services.values()] == [1, 3]


def aliases_of_aliases() -> str:
    """A list of 21 lists of 21 lists, and so on: 85 million items."""
    lines = ["a: &a [" + "x, " * 20 + "x]"]
    lines += [f"{b}: &{b} [" + f"*{a}, " * 20 + f"*{a}]" for a, b in pairwise("abcdef")]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [aliases_of_aliases(), "a: &a\n  b: *a\n"], ids=["many", "circle"])
def test_aliases_do_not_expand_to_any_size(text: str) -> None:
    with pytest.raises(ConfigurationError, match="expand to too much"):
        read(text.encode())
