"""Decoding plain structures to services, and the faults of invalid ones."""

from contextlib import suppress
from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import CachePolicy, KeyPolicy, QueryPolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.configuration.cache_section import CACHE
from routing.configuration.decode import decode, route_parsers, service_parsers
from routing.configuration.faults import ConfigurationError
from routing.configuration.section_parsers import BREAKER
from routing.messages.cors import CorsPolicy
from routing.router.policy import Auth, Fallback, PathPolicy, RoutePolicy, Spelling, Target, Timeout, TrailingSlash
from routing.router.table import Service

URL = "http://127.0.0.1:9101"


def secret(name: str) -> str | None:
    return {"TOKEN": "Bearer t0ken", "BROKEN": "two\r\nlines"}.get(name)


def document(**fields: Any) -> dict[str, Any]:
    return {"version": 1, "services": {"crm": {"targets": [{"url": URL}], **fields}}}


def read(**fields: Any) -> Service:
    (service,) = decode(document(**fields), secret)
    return service


def faults(structure: object) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        decode(structure, secret)
    return [str(fault) for fault in error.value.faults]


def fault(**fields: Any) -> str:
    (only,) = faults(document(**fields))
    return only.removeprefix("services.crm").removeprefix(".")


def test_a_service_without_settings_has_the_defaults() -> None:
    assert read() == Service("crm", (Target(URL),))


def test_every_setting_is_decoded() -> None:
    policy = read(
        auth="optional",
        scopes=["reports"],
        rate_limit="10/s",
        timeout={"connect": "500ms", "read": 5, "total": "1m"},
        max_concurrency=8,
        retries={"attempts": 3, "budget": 0.5},
        headers={"Authorization": "env:TOKEN", "X-Plain": "as it is"},
        forward_authorization=True,
        cache={"ttl": "1h", "scope": "shared", "vary": ["Accept-Language"]},
        fallback={"status": 203, "body": {"items": []}},
        cost_per_call=0.5,
    ).policy
    assert (policy.auth, policy.scopes, policy.max_concurrency) == (Auth.OPTIONAL, ("reports",), 8)
    assert policy.rate_limit == RatePolicy(10, 1.0)
    assert policy.timeout == Timeout(connect=0.5, read=5.0, total=60.0)
    assert policy.headers == ((b"authorization", b"Bearer t0ken"), (b"x-plain", b"as it is"))
    assert policy.cache == CachePolicy(ttl=3_600.0, scope=Scope.SHARED, vary=("accept-language",))
    assert policy.fallback == Fallback(status=203, body={"items": []})
    assert (policy.forward_authorization, policy.cost_per_call) == (True, 0.5)


def test_how_a_service_reads_paths_is_decoded() -> None:
    assert read(paths={}).paths == PathPolicy()
    paths = {"encoded_slash": "pass", "empty_segments": "pass", "case_sensitive": False, "trailing_slash": "strict"}
    assert read(paths=paths).paths == PathPolicy(
        encoded_slash=Spelling.PASS,
        empty_segments=Spelling.PASS,
        case_sensitive=False,
        trailing_slash=TrailingSlash.STRICT,
    )


def test_routes_that_differ_only_in_case_are_duplicates_where_case_is_ignored() -> None:
    routes = [{"path": "/a"}, {"path": "/A"}]
    assert len(read(routes=routes).routes) == 2
    assert fault(routes=routes, paths={"case_sensitive": False}) == "routes[1].path: duplicate route: /A"


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("2s", 2.0), ("500ms", 0.5), ("1m", 60.0), ("1h", 3_600.0), ("1.5s", 1.5), (2, 2.0), (0.25, 0.25)],
)
def test_a_duration_is_a_number_with_a_unit_or_a_number_of_seconds(written: object, seconds: float) -> None:
    assert read(timeout={"read": written}).policy.timeout.read == seconds


@pytest.mark.parametrize(
    "written", ["", "2 weeks", "-1s", "s", True, None, -1, float("nan"), float("inf"), [1], "1m30s"]
)
def test_anything_else_is_not_a_duration(written: object) -> None:
    assert fault(timeout={"read": written}).startswith("timeout.read: must be a duration such as 500ms")


def test_null_is_no_time_limit() -> None:
    policy = read(timeout={"total": None, "idle": None, "stream": None, "ping": None}).policy
    assert policy.timeout == Timeout(total=inf, idle=inf, stream=inf)
    assert policy.breaker.permit_lease == 2 * (2.0 + 10.0) + 5.0
    for field in ("connect", "read"):
        assert fault(timeout={field: None}).startswith(f"timeout.{field}: must be a duration")


@pytest.mark.parametrize(
    ("timeout", "total"), [({"read": "40s"}, 40.0), ({"read": "20s"}, 30.0), ({"read": "40s", "total": "35s"}, 35.0)]
)
def test_a_slow_first_byte_needs_one_setting(timeout: dict[str, str], total: float) -> None:
    assert read(timeout=timeout).policy.timeout.total == total
    service = read(timeout={"idle": "1h"}, routes=[{"path": "/a", "timeout": timeout}])
    expected = Timeout(read=float(timeout["read"][:-1]), total=total, idle=3_600.0)
    assert service.routes[0].policy.timeout == expected


def test_a_probe_lease_outlasts_the_longest_call() -> None:
    service = read(timeout={"total": "90s"}, breaker={"failure_threshold": 9})
    assert service.policy.breaker == BreakerPolicy(failure_threshold=9, permit_lease=95.0)


def test_a_probe_lease_outlasts_the_longest_call_of_any_route() -> None:
    service = read(timeout={"total": "20s"}, routes=[{"path": "/report", "timeout": {"total": "10m"}}, {"path": "/a"}])
    assert service.policy.breaker.permit_lease == 605.0


def test_the_open_time_of_a_circuit_may_grow() -> None:
    growing = {"open_for": {"base": "30s", "factor": 2, "max": "5m"}, "failure_rate": 0.5, "slow_call": "2s"}
    service = read(breaker=growing, routes=[{"path": "/a", "breaker": {"open_for": "10s", "failure_rate": None}}])
    assert service.policy.breaker == BreakerPolicy(
        open_for=30.0, open_factor=2.0, open_max=300.0, failure_rate=0.5, slow_call=2.0
    )
    # A key set on the route replaces the service's value as a whole, so the route's open time does not grow.
    assert service.routes[0].policy.breaker == BreakerPolicy(open_for=10.0, slow_call=2.0)


@pytest.mark.parametrize(("open_for", "expected"), [({}, {}), ({"factor": 2}, {"open_factor": 2.0})])
def test_the_first_open_time_has_a_default(open_for: dict[str, Any], expected: dict[str, Any]) -> None:
    assert read(breaker={"open_for": open_for}).policy.breaker == BreakerPolicy(**expected)


def test_cache_off_disables_caching() -> None:
    assert read(cache=False).policy.cache is None


def test_cache_on_has_the_defaults() -> None:
    assert read(cache=True).policy.cache == CachePolicy()


def test_cors_off_allows_no_origin_and_a_route_may_allow_more() -> None:
    assert read().policy.cors is None
    assert read(cors=True).policy.cors == CorsPolicy()
    service = read(cors=False, routes=[{"path": "/a", "cors": {"origins": ["https://*.Example.com", None]}}])
    assert service.policy.cors == CorsPolicy(origins=())
    assert service.routes[0].policy.cors == CorsPolicy(origins=("https://*.example.com", "null"))
    full = {"origins": ["https://a.test"], "methods": ["GET"], "headers": ["X-API-Key"], "expose": ["X-Total"]}
    assert read(cors={**full, "credentials": True, "max_age": "1h"}).policy.cors == CorsPolicy(
        origins=("https://a.test",),
        methods=("GET",),
        headers=("x-api-key",),
        expose=("x-total",),
        credentials=True,
        max_age=3_600.0,
    )


def test_a_routes_section_overrides_its_services_key_by_key() -> None:
    service = read(
        cache={"ttl": 60, "stale_if_error": 5},
        headers={"X-A": "1", "X-B": "2"},
        routes=[{"path": "/a", "cache": {"tags": ["t"]}, "headers": {"x-b": "3"}, "timeout": {"read": 1}}],
    )
    policy = service.routes[0].policy
    assert policy.cache == CachePolicy(ttl=60.0, stale_if_error=5.0, tags=("t",))
    assert policy.headers == ((b"x-a", b"1"), (b"x-b", b"3"))
    assert policy.timeout == Timeout(read=1.0)
    assert service.policy.cache == CachePolicy(ttl=60.0, stale_if_error=5.0)


def test_a_route_inherits_the_settings_of_its_service() -> None:
    service = read(auth="none", max_concurrency=7, routes=[{"path": "/a"}])
    assert service.routes[0].policy == service.policy


def test_a_route_may_switch_its_services_cache_off_and_on_again() -> None:
    assert read(cache={"ttl": 60}, routes=[{"path": "/a", "cache": False}]).routes[0].policy.cache is None
    assert read(cache=False, routes=[{"path": "/a", "cache": True}]).routes[0].policy.cache == CachePolicy()
    tagged = read(cache=False, routes=[{"path": "/a", "cache": {"ttl": 1}}])
    assert tagged.routes[0].policy.cache == CachePolicy(ttl=1.0)


def test_a_disabled_service_disables_its_routes() -> None:
    service = read(enabled=False, routes=[{"path": "/a", "enabled": True}])
    assert not service.routes[0].policy.enabled


def test_null_is_the_same_as_a_missing_key() -> None:
    assert read(cache=None, auth=None, routes=None) == read()


def test_a_disabled_target_has_weight_0() -> None:
    assert read(targets=[{"url": URL, "weight": 5, "enabled": False}]).targets == (Target(URL, 0),)
    assert read(targets=[{"url": URL, "canary": 2.5}]).targets == (Target(URL, 1, 2.5),)


def test_a_disabled_target_that_is_always_up_has_weight_0() -> None:
    assert read(targets=[{"url": URL, "always_up": True}]).targets == (Target(URL, always_up=True),)
    off = read(targets=[{"url": URL, "always_up": True, "enabled": False}]).targets
    assert off == (Target(URL, 0, always_up=True),)


def test_hosts_are_in_lower_case() -> None:
    assert read(hosts=["CRM.Example.com"]).hosts == ("crm.example.com",)


def test_an_unknown_key_is_named_with_the_nearest_one() -> None:
    assert fault(cache={"tll": 3}) == "cache: unknown key 'tll' (did you mean 'ttl'?)"
    assert fault(rate_limits="1/m") == ": unknown key 'rate_limits' (did you mean 'rate_limit'?)"
    assert "known: path, methods" in fault(routes=[{"path": "/a", "xyzzy": 1}])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"auth": "no"}, "auth: must be required, optional, none, certificate or signature, not 'no'"),
        (
            {"auth": False},
            "auth: must be required, optional, none, certificate or signature, not false (YAML reads a bare yes",
        ),
        ({"enabled": "off"}, "enabled: must be true or false, not 'off'"),
        ({"scopes": "reports"}, "scopes: must be a list, not 'reports'"),
        ({"scopes": ["a b"]}, "scopes[0]: 'a b' is not a scope"),
        ({"rate_limit": 100}, "rate_limit: must be a rate such as 100/m, not 100"),
        ({"rate_limit": "100/w"}, "rate_limit: '100/w' is not a rate"),
        ({"timeout": {"total": "2h"}}, "timeout: total must be above 0 and at most 1 hour"),
        ({"timeout": {"ping": "500ms"}}, "timeout: ping must be from 1 second to 1 hour, or null for none"),
        ({"timeout": {"read": "\u0662s"}}, "timeout.read: must be a duration such as 500ms"),
        ({"rate_limit": "\u0662/m"}, "rate_limit: '\u0662/m' is not a rate such as 100/m"),
        ({"timeout": 3}, "timeout: must be a mapping of names to values, not 3"),
        ({"signature": {"components": [["@path"]]}}, "signature.components[0]: must be a string, not ['@path']"),
        ({"max_concurrency": 0}, "max_concurrency: must be from 1 to 100000"),
        ({"max_concurrency": True}, "max_concurrency: must be an integer, not true"),
        ({"retries": {"attempts": 2.5}}, "retries.attempts: must be an integer, not 2.5"),
        ({"retries": {"budget": 2}}, "retries.budget: must be from 0 to 1"),
        ({"cache": "off"}, "cache: must be a mapping of names to values, not 'off' (write off without quotes)"),
        ({"cors": "on"}, "cors: must be a mapping of names to values, not 'on' (write on without quotes)"),
        ({"cache": "x"}, "cache: must be a mapping of names to values, not 'x'"),
        ({"cache": {"scope": "everyone"}}, "cache.scope: must be user, tenant or shared, not 'everyone'"),
        ({"cache": {"tags": ["{user}"]}}, "cache.tags[0]: {user} is not a parameter of the route's path"),
        ({"cache": {"tags": ["a{"]}}, "cache.tags[0]: 'a{' is not a tag"),
        ({"cache": {"tags": ["{user|lower}"]}}, "cache.tags[0]: {user} is not a parameter of the route's path"),
        ({"cache": {"tags": ["{caller|lower}"]}}, "cache.tags[0]: '{caller|lower}' is not a tag"),
        ({"cache": {"tags": ["{query.a|upper}"]}}, "cache.tags[0]: '{query.a|upper}' is not a tag"),
        ({"breaker": {"failure_threshold": "5"}}, "breaker.failure_threshold: must be an integer, not '5'"),
        ({"breaker": {"open_for": {"bas": 1}}}, "breaker.open_for: unknown key 'bas' (did you mean 'base'?)"),
        (
            {"breaker": {"open_for": {"base": 9, "max": 8}}},
            "breaker: open_for.max must be at least the first open time, 9 s",
        ),
        ({"breaker": {"failure_rate": 0}}, "breaker: failure_rate must be above 0 and at most 1"),
        ({"health": {"path": "health"}}, "health.path: must be a path"),
        ({"cors": {"origins": ["app.example.com"]}}, "cors.origins[0]: 'app.example.com' is not an origin"),
        ({"cors": {"origins": ["*"], "credentials": True}}, "cors: credentials cannot be combined"),
        ({"cors": {"methods": ["get"]}}, "cors.methods[0]: methods must be in capitals"),
        ({"fallback": {"status": 99}}, "fallback.status: must be from 200 to 599"),
        ({"fallback": {"service": "mail!"}}, "fallback.service: must be the name of a service"),
        ({"fallback": {"service": 3}}, "fallback.service: must be a string, not 3"),
        ({"fallback": {"service": "crm"}}, "fallback.service: a service cannot be its own fallback"),
        ({"fallback": {"service": "mail"}}, "fallback.service: there is no service 'mail'"),
        (
            {"routes": [{"path": "/a", "fallback": {"service": "mail"}}]},
            "routes[0].fallback.service: there is no service 'mail'",
        ),
        ({"fallback": {"body": float("nan")}}, "fallback.body: nan cannot be represented in JSON"),
        ({"cost_per_call": -1}, "cost_per_call: must be from 0"),
        ({"paths": {"encoded_slash": "allow"}}, "paths.encoded_slash: must be refuse or pass, not 'allow'"),
        ({"paths": {"trailing": 1}}, "paths: unknown key 'trailing' (did you mean 'trailing_slash'?)"),
        ({"routes": [{"path": "/a", "paths": {}}]}, "routes[0]: unknown key 'paths' (did you mean 'path'?)"),
        ({"hosts": ["http://crm"]}, "hosts[0]: 'http://crm' is not a host name"),
        ({"hosts": ["a", "a"]}, "hosts[1]: 'a' is already a host of crm"),
        ({"targets": []}, ": a service needs at least one target"),
        ({"targets": [{}]}, "targets[0]: a target needs a url"),
        ({"targets": [{"url": "ftp://a"}]}, "targets[0]: url must be http://host or https://host"),
        (
            {"targets": [{"url": "http://a/ b"}]},
            "targets[0]: url must have no user, query or fragment, and be visible ASCII",
        ),
        ({"targets": [{"url": "http://u:p@a"}]}, "targets[0]: url must have no user"),
        *(
            ({"targets": [{"url": f"http://{host}:80"}]}, "targets[0]: url must name a host of letters, digits and")
            for host in ("${HOST}", "<crm-host>", "{{crm}}", "*.internal", "a%20b", "a,b")
        ),
        ({"targets": [{"url": "http://a:0"}]}, "targets[0]: url must have a port from 1 to 65535, or none"),
        ({"targets": [{"url": URL}, {"url": URL}]}, "targets[1]: duplicate target"),
        ({"headers": {"X A": "1"}}, "headers.X A: 'X A' is not a header name"),
        ({"headers": {"X-A": 1}}, "headers.X-A: must be a string (put it in quotes)"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers.x-a: duplicate header"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "headers.X-A: the value contains control characters"),
        ({"headers": {"X-A": "a\0"}}, "headers.X-A: the value contains control characters"),
        ({"headers": {"X-A": "env:"}}, "headers.X-A: env: must be followed by"),
        ({"headers": {"X-A": "env:NOT_SET"}}, "headers.X-A: the environment variable NOT_SET is not set"),
        (
            {"headers": {"X-A": "env:BROKEN"}},
            "headers.X-A: the value of the environment variable BROKEN contains control",
        ),
    ],
)
def test_a_wrong_value_is_reported_with_its_path(given: dict[str, Any], message: str) -> None:
    assert fault(**given).startswith(message)


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "X-Forwarded-For", "X-Request-ID", "X-Gateway-Caller", "Connection", "TE", "Via"]
)
def test_headers_that_the_gateway_sets_cannot_be_configured(name: str) -> None:
    assert fault(headers={name: "x"}) == f"headers.{name}: this header is set by the gateway"


def test_no_fault_contains_the_value_of_a_header() -> None:
    found = faults(document(headers={"A": "hunter2\n", "B": ["hunter2"], "C": "env:BROKEN"}))
    assert len(found) == 3
    assert "hunter2" not in "".join(found)
    assert "lines" not in "".join(found)
    assert "hunter2" not in fault(headers="Authorization: hunter2") + fault(headers=["hunter2"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("channels", "must start with '/'"),
        ("/a/{x}y", "a {name} must be a whole segment"),
        ("/{x}/{x}", "each {name} may appear once"),
        ("/of/{caller}", "{caller} is reserved for tags: choose another parameter name"),
        ("/{tenant}/x", "{tenant} is reserved for tags: choose another parameter name"),
        ("/*/a", "'*' may only be the whole last segment"),
        ("/a*", "'*' may only be the whole last segment"),
        ("/a//b", "cannot be a segment"),
        ("/a/../b", "cannot be a segment"),
        ("/a/", "must not end with '/'"),
        ("/a?b", "must be written without percent-encoding"),
        ("/a%20b", "must be written without percent-encoding"),
        (7, "must be a string, not 7"),
    ],
)
def test_an_invalid_pattern_is_rejected(path: object, message: str) -> None:
    assert message in fault(routes=[{"path": path}])


@pytest.mark.parametrize("path", ["/", "/*", "/a", "/a/{b}/c", "/a/{b}/*", "/grüße"])
def test_a_valid_pattern_is_accepted(path: str) -> None:
    assert read(routes=[{"path": path}]).routes[0].path == path


def test_the_tags_of_a_route_may_contain_its_parameters_only() -> None:
    assert read(routes=[{"path": "/{user}", "cache": {"tags": ["m:{user}"]}, "invalidates": ["{user}"]}])
    assert fault(routes=[{"path": "/{user}", "invalidates": ["{usr}"]}]).endswith(
        "{usr} is not a parameter of the route's path"
    )


def test_tags_may_contain_the_caller_unless_the_response_is_shared() -> None:
    tags = {"cache": {"tags": ["m:{caller}", "t:{tenant}"]}}
    assert read(**tags, routes=[{"path": "/a", "invalidates": ["m:{caller}", "t:{tenant}"]}])
    assert read(cache={"scope": "tenant", "tags": ["t:{tenant}"]})
    shared = fault(cache={"scope": "shared", "tags": ["t:{tenant}"]})
    assert shared.startswith("cache: tags may not hold {tenant} in scope shared")
    inherited = fault(**tags, routes=[{"path": "/a", "cache": {"scope": "shared"}}])
    assert inherited.startswith("routes[0].cache: tags may not hold {caller} in scope shared")


def test_what_the_cache_ignores_is_listed_by_its_words() -> None:
    ignoring = read(cache={"ignore": ["private", "no-store", "Set-Cookie"]}).policy.cache
    assert ignoring == CachePolicy(ignore=(Ignorable.PRIVATE, Ignorable.NO_STORE, Ignorable.SET_COOKIE))
    unknown = fault(cache={"ignore": ["vary"]})
    assert unknown.startswith("cache.ignore[0]: must be private, no-store, no-cache, max-age, must-revalidate, ")


def test_a_shared_response_is_stored_against_its_backends_will_only_where_that_is_meant() -> None:
    ignoring = {"cache": {"ignore": ["private", "no-cache"]}}
    shared = fault(cache={"scope": "shared", "ignore": ["private", "no-cache"]})
    assert shared.startswith("cache: ignore lists private, no-cache, and scope is shared")
    assert "share_ignored: true" in shared
    inherited = fault(**ignoring, routes=[{"path": "/a", "cache": {"scope": "shared"}}])
    assert inherited.startswith("routes[0].cache: ignore lists private")
    meant = {"path": "/a", "cache": {"scope": "shared", "share_ignored": True}}
    assert read(**ignoring, routes=[meant]).routes[0].policy.cache is not None


def test_the_methods_and_the_key_of_a_cache_are_decoded() -> None:
    cache = {
        "methods": ["GET", "HEAD", "POST"],
        "key": {
            "body": ["channel", "filter.since"],
            "query": {"ignore": ["_", "ts"], "sort": True},
            "headers": ["X-Team"],
        },
        "tags": ["channel:{body.channel}", "user:{query.user}"],
    }
    assert read(cache=cache).policy.cache == CachePolicy(
        methods=("GET", "HEAD", "POST"),
        key=KeyPolicy(
            body=("channel", "filter.since"), query=QueryPolicy(ignore=("_", "ts"), sort=True), headers=("x-team",)
        ),
        tags=("channel:{body.channel}", "user:{query.user}"),
    )
    assert read(cache={"methods": ["POST"], "key": {"body": None}, "tags": ["{body.any.field}"]}).policy.cache


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        ({"methods": ["PUT"]}, "cache.methods[0]: must be GET, HEAD or POST, not 'PUT'"),
        ({"methods": ["post"]}, "cache.methods[0]: must be GET, HEAD or POST, not 'post'"),
        ({"methods": []}, "cache: methods must be some of GET, HEAD, POST"),
        ({"methods": ["HEAD", "POST"]}, "cache: methods has HEAD without GET"),
        ({"key": {"body": ["channel"]}}, "cache: key has fields of a body, and methods has no POST"),
        ({"methods": ["POST"], "key": {"body": []}}, "cache.key.body: must name a field"),
        ({"methods": ["POST"], "key": {"body": ["a", "a"]}}, "cache.key.body: must have each name once"),
        ({"methods": ["POST"], "key": {"body": ["a..b"]}}, "cache.key.body[0]: 'a..b' is not a field such as channel"),
        ({"methods": ["POST"], "key": {"body": [f"a{n}" for n in range(33)]}}, "must have at most 32 names"),
        ({"key": {"query": {"ignore": [5]}}}, "cache.key.query.ignore[0]: must be a string"),
        ({"key": {"query": {"order": True}}}, "cache.key.query: unknown key 'order'"),
        ({"key": {"headers": ["X-Forwarded-For"]}}, "cache.key.headers[0]: x-forwarded-for is set by the gateway"),
        ({"key": {"headers": ["X Y"]}}, "cache.key.headers[0]: 'X Y' is not a header name"),
        ({"tags": ["{body.channel}"]}, "cache: tags hold {body.channel}, and methods has no POST"),
        (
            {"tags": ["{body.channel}"], "methods": ["POST"], "key": {"body": ["cursor"]}},
            "cache: tags hold {body.channel}, which is not in key.body",
        ),
        (
            {"tags": ["{query.ts}"], "key": {"query": {"ignore": ["ts"]}}},
            "cache: tags hold {query.ts}, which key.query",
        ),
        ({"cookies": ["a b"]}, "cache.cookies[0]: 'a b' is not a cookie's name"),
        ({"cookies": ["a", "a"]}, "cache.cookies: must have each name once"),
        ({"only_if": []}, "cache.only_if: must have a condition"),
        ({"bypass_query": ["a", "a"]}, "cache.bypass_query: must have each name once"),
        ({"bypass_query": ['"']}, "cache.bypass_query[0]: '\"' is not a name"),
        ({"bypass_query": "a"}, "cache.bypass_query: must be a list"),
        ({"only_if": {}}, "cache.only_if: a condition needs a status, a header or a body"),
        ({"only_if": {"body": {"ok": {"a": 1}}}}, "cache.only_if.body.ok: must be a value or a list of values"),
        ({"invalidate_own": {"when": {"status": 404}}}, "cache.invalidate_own: needs 'when', a condition on responses"),
        ({"invalidate_own": {"when": {"status": 404}, "tags": []}}, "cache.invalidate_own: needs 'when'"),
        ({"invalidate_own": {"tags": ["a"]}}, "cache.invalidate_own: needs 'when'"),
        ({"invalidate_own": {"when": [], "tags": ["a"]}}, "cache.invalidate_own.when: must have a condition"),
        (
            {"invalidate_own": {"when": {"status": 4}, "tags": ["a"]}},
            "cache.invalidate_own.when.status: must be a status",
        ),
        ({"invalidate_own": {"if": {"status": 404}}}, "cache.invalidate_own: unknown key 'if'"),
        (
            {"invalidate_own": {"when": {"status": 404}, "tags": ["a", "{user}"]}},
            "cache.invalidate_own.tags[1]: {user} is not a parameter of the route's path",
        ),
        (
            {"invalidate_own": {"when": {"status": 404}, "tags": ["{query.id}"]}},
            "cache.invalidate_own.tags[0]: {query.id} may be used in cache.tags only",
        ),
        ({"tags": ["{query.}"]}, "cache.tags[0]: '{query.}' is not a tag"),
        ({"tags": ["{header.x}"]}, "cache.tags[0]: '{header.x}' is not a tag"),
    ],
)
def test_a_contradiction_in_a_cache_is_reported(cache: dict[str, Any], message: str) -> None:
    assert message in fault(cache=cache)


def test_what_is_stored_is_selected_by_conditions() -> None:
    policy = read(cache={"only_if": {"status": 200, "body": {"ok": True}}}).policy
    only_if = policy.cache.only_if if policy.cache else None
    assert only_if is not None
    json = [(b"content-type", b"application/json")]
    assert [only_if.matches(200, json, body) for body in (b'{"ok":true}', b'{"ok":false}', None)] == [
        True,
        False,
        False,
    ]
    assert policy.judges_bodies
    assert not read(cache={"only_if": {"header": {"X-Ok": True}}}).policy.judges_bodies


def test_a_post_that_is_cached_invalidates_nothing() -> None:
    cache = {"methods": ["GET", "HEAD", "POST"]}
    writes = {"path": "/a", "invalidates": ["a"]}
    assert fault(cache=cache, routes=[writes]).startswith("routes[0].invalidates: a POST in cache.methods is answered")
    assert fault(cache=cache, routes=[{**writes, "methods": ["POST"]}])
    assert read(cache=cache, routes=[{**writes, "methods": ["PUT"]}, {**writes, "path": "/b", "cache": False}])


def test_fields_of_a_request_are_known_to_the_tags_of_responses_only() -> None:
    message = fault(routes=[{"path": "/a", "invalidates": ["c:{body.channel}"]}])
    assert message == "routes[0].invalidates[0]: {body.channel} may be used in cache.tags only"


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["get"], "methods must be in capitals: GET"),
        (["FETCH"], "'FETCH' is not a supported method"),
        ("GET", "must be a list"),
        (["GET", "GET"], "duplicate method"),
    ],
)
def test_methods_must_be_known_and_in_capitals(methods: object, message: str) -> None:
    assert message in fault(routes=[{"path": "/a", "methods": methods}])


def test_a_duplicate_route_is_a_fault_even_if_its_parameters_have_other_names() -> None:
    routes = [{"path": "/{a}", "methods": ["GET", "PUT"]}, {"path": "/{b}", "methods": ["PUT", "GET"]}]
    assert fault(routes=routes) == "routes[1].path: duplicate route: /{b}"
    assert len(read(routes=[routes[0], {"path": "/{b}"}]).routes) == 2


@pytest.mark.parametrize("name", ["1st", "a b", "", "x" * 64, "a.b", "debug"])
def test_an_invalid_service_name_is_rejected(name: str) -> None:
    (only,) = faults({"version": 1, "services": {name: {"targets": [{"url": URL}]}}})
    assert "is not a valid name" in only or "reserved word" in only


def test_a_host_belongs_to_one_service() -> None:
    services = {name: {"targets": [{"url": URL}], "hosts": ["crm.example.com"]} for name in ("a", "b")}
    assert faults({"version": 1, "services": services}) == [
        "services.b.hosts[0]: 'crm.example.com' is already a host of a"
    ]


def test_the_version_is_required() -> None:
    assert faults({"services": {}}) == ["'version: 1' is required"]
    assert faults({"version": 2}) == ["version: must be 1, not 2"]
    assert faults({"version": True}) == ["version: must be 1, not true"]
    assert decode({"version": 1}, secret) == ()


@pytest.mark.parametrize("structure", [None, [], "x", 3])
def test_a_document_must_be_a_mapping(structure: object) -> None:
    assert len(faults(structure)) == 1


def test_all_faults_are_reported_together() -> None:
    found = faults(
        {
            "verson": 1,
            "services": {
                "crm": {"auth": "x", "timeout": {"total": "9h"}, "routes": [{"path": "x"}, {"cache": {"ttl": "x"}}]},
                "debug": {"targets": "x"},
                "empty": None,
            },
        }
    )
    assert [line.split(":")[0] for line in found] == [
        "unknown key 'verson' (did you mean 'version'?)",
        "'version",
        "services.crm.auth",
        "services.crm",
        "services.crm.timeout",
        "services.crm.routes[0].path",
        "services.crm.routes[1].cache.ttl",
        "services.crm.routes[1]",
        "services.debug",
        "services.debug.targets",
        "services.empty",
    ]


def test_a_fault_of_a_service_is_not_repeated_for_each_route() -> None:
    assert (
        len(
            faults(
                document(cache={"ttl": 10**9 - 1}, routes=[{"path": "/a"}, {"path": "/b", "cache": {"tags": ["x"]}}])
            )
        )
        == 1
    )


KEYS = {"version", "services", "crm", "url", *service_parsers(secret), *route_parsers(secret), *CACHE, *BREAKER}
VALUES = {URL, "/{a}", "GET", "env:TOKEN", "2s", "debug", "100/m", "shared"}
NAMES = st.sampled_from(sorted(KEYS | VALUES))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | NAMES | st.text("a{}*/:% \0\n\ud800é", max_size=5)
STRUCTURES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(NAMES, STRUCTURES, max_size=6))
def test_an_arbitrary_structure_raises_nothing_but_faults(fields: dict[str, Any]) -> None:
    for structure in (fields, {"version": 1, "services": fields}, document(**fields), document(routes=[fields])):
        with suppress(ConfigurationError):
            assert all(isinstance(service.policy, RoutePolicy) for service in decode(structure, secret))
