"""Explain reports what the gateway would do, without a call."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.breaker.machine import Snapshot, State
from resilience.breaker.policy import BreakerPolicy
from resilience.cache.ignoring import Ignorable
from resilience.cache.policy import CachePolicy, KeyPolicy, QueryPolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.signatures.policy import SignaturePolicy
from routing.caller import Caller
from routing.explain.explainer import Explainer
from routing.explain.explanation import Explanation
from routing.explain.routes import mismatch
from routing.http import Headers, Request
from routing.router.policy import Auth, Fallback, PathPolicy, RoutePolicy, Spelling, Target, TrailingSlash
from routing.router.spelling import readings
from routing.router.table import RoutePattern, RouteTable, Service

HOST = (b"host", b"gateway.test")
ADA = Caller("key:ada", scopes=frozenset({"crm"}))
TARGETS = (Target("http://a", 3), Target("http://b", 1))
CRM = Service(
    "crm",
    TARGETS,
    hosts=("crm.example",),
    policy=RoutePolicy(cache=CachePolicy(ttl=30), rate_limit=RatePolicy(50, 60)),
    routes=(
        RoutePattern("/contacts", ("GET",), RoutePolicy(cache=CachePolicy(tags=("crm:contacts",)))),
        RoutePattern(
            "/contacts/{id}", ("GET",), RoutePolicy(cache=CachePolicy(tags=("contact:{id}",), scope=Scope.SHARED))
        ),
        RoutePattern("/contacts/{id}", (), RoutePolicy(cache=None, invalidates=("contact:{id}",))),
        RoutePattern("/contacts/{id}", ("PUT",)),
        RoutePattern("/reports/*", (), RoutePolicy(scopes=("reports",), cache=None, rate_limit=RatePolicy(5, 60))),
    ),
)


def explain(
    path: str,
    method: str = "GET",
    *,
    caller: Caller | None = ADA,
    service: Service = CRM,
    headers: Headers | None = None,
    host: tuple[bytes, bytes] = HOST,
    circuit: Snapshot | None = None,
) -> Explanation:
    table = RouteTable([service, Service("calendar", TARGETS)])
    explainer = Explainer(table, rate=RatePolicy(100, 60), circuits=lambda _: circuit or Snapshot(), now=1_000.0)
    raw, _, query = path.encode().partition(b"?")
    return explainer.explain(Request(method, raw, query, [host, *(headers or [])], "192.0.2.1"), caller)


def present(part: dict[str, Any] | None) -> dict[str, Any]:
    assert part is not None
    return part


def test_the_matching_route_its_parameters_and_why_each_other_route_does_not_match_are_shown() -> None:
    explanation = explain("/api/v1/crm/contacts/7")
    assert present(explanation.service)["route"] == "/contacts/{id}"
    assert present(explanation.service)["params"] == {"id": "7"}
    assert [(route.matches, route.why) for route in explanation.routes] == [
        (False, "the path continues with '7'"),
        (True, "the first route that matches"),
        (False, "also matches, but comes after the first match"),
        (False, "matches the path, but allows only PUT"),
        (False, "expected 'reports', but the path has 'contacts'"),
    ]


def test_a_trailing_slash_matches_the_route_without_it() -> None:
    explanation = explain("/api/v1/crm/contacts/")
    assert present(explanation.service)["route"] == "/contacts"
    assert explanation.routes[0].why == "the first route that matches"


def test_a_trailing_slash_is_given_as_the_reason_where_it_matters() -> None:
    service = msgspec.structs.replace(CRM, paths=PathPolicy(trailing_slash=TrailingSlash.STRICT))
    explanation = explain("/api/v1/crm/contacts/", service=service)
    assert present(explanation.service)["route"] == "<no route: the service's settings apply>"
    assert explanation.routes[0].why == "the path ends with a slash"
    assert explanation.routes[1].why == "{id} would be empty"


def test_routes_of_other_readings_are_listed() -> None:
    service = Service(
        "crm", TARGETS, routes=(RoutePattern("/{page}"), RoutePattern("/admin/*", (), RoutePolicy(scopes=("admin",))))
    )
    service = msgspec.structs.replace(service, paths=PathPolicy(encoded_slash=Spelling.PASS))
    explanation = explain("/api/v1/crm/admin%2Fx", caller=ADA, service=service)
    assert (explanation.verdict.status, present(explanation.access)["needs"]) == (403, ["admin"])
    assert explanation.routes[1].why == "applies too: some servers read the path as this route's"
    refused = explain("/api/v1/crm/admin%2Fx", caller=ADA, service=msgspec.structs.replace(service, paths=PathPolicy()))
    assert refused.verdict.code == "bad_request"
    assert refused.routes[0].why == "the path contains an encoded slash or a backslash"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("CRM", "crm: names are case-sensitive"), ("calender", "calendar: did you mean this?")],
)
def test_a_service_with_a_similar_name_is_suggested(name: str, hint: str) -> None:
    explanation = explain(f"/api/v1/{name}/x")
    assert (explanation.verdict.status, explanation.verdict.code) == (404, "unknown_service")
    assert explanation.nearly == (hint,)


def test_a_service_is_found_by_its_host() -> None:
    explanation = explain("/contacts", host=(b"host", b"crm.example:8000"))
    assert present(explanation.service)["found_by"] == "host"
    assert present(explanation.service)["route"] == "/contacts"


def test_the_rate_limit_shows_whose_it_is_and_what_it_counts_by() -> None:
    assert present(explain("/api/v1/crm/contacts/7").rate_limit)["whose"] == "the gateway's"
    assert present(explain("/api/v1/crm/other").rate_limit) == {
        "limit": 50,
        "window": 60.0,
        "whose": "the service's",
        "counted_by": "key:ada",
    }
    assert present(explain("/api/v1/crm/reports/a").rate_limit)["whose"] == "the route's"
    assert present(explain("/api/v1/crm/x", caller=None).rate_limit)["counted_by"] == "192.0.2.1"


def test_the_cache_section_shows_what_is_ignored_and_keyed() -> None:
    key = KeyPolicy(body=("channel",), query=QueryPolicy(ignore=("ts",)))
    cache = CachePolicy(
        methods=("GET", "POST"), key=key, ignore=(Ignorable.NO_STORE,), tags=("{query.channel}", "{body.channel}")
    )
    slack = Service("slack", TARGETS, policy=RoutePolicy(cache=cache))
    path = "/api/v1/slack/history?channel=C1"
    for method in ("GET", "POST"):
        section = present(explain(path, method, service=slack).cache)
        assert (section["consulted"], section["ignore"], section["methods"]) == (True, ["no-store"], ["GET", "POST"])
        assert section["key"] == {"body": ["channel"], "query": {"ignore": ["ts"], "sort": False}, "headers": []}
        assert section["tags"] == ["slack", "C1"]
    headers: Headers = [(b"content-length", b"9"), (b"content-type", b"text/plain")]
    bypassed = present(explain(path, "POST", headers=headers, service=slack).cache)
    assert bypassed["rule"] == "content is part of the key only as JSON or as a form"
    assert present(explain(path, "HEAD", service=slack).cache)["rule"] == "HEAD requests are not served from the cache"


def test_a_parameter_with_which_the_cache_is_bypassed_is_named_as_the_reason() -> None:
    policy = RoutePolicy(cache=CachePolicy(bypass_query=("since",)))
    syncing = msgspec.structs.replace(CRM, policy=policy, routes=())
    bypassed = present(explain("/api/v1/crm/contacts?since=1", service=syncing).cache)
    assert bypassed["rule"] == "a request with a parameter that cache.bypass_query names bypasses the cache"
    consulted = present(explain("/api/v1/crm/contacts?a=1", service=syncing).cache)
    assert (consulted["consulted"], consulted["bypass_query"]) == (True, ["since"])


def test_the_cache_section_shows_the_rule_that_applies() -> None:
    shared = present(explain("/api/v1/crm/contacts/7").cache)
    assert (shared["consulted"], shared["scope"], shared["shared_with"]) == (True, "shared", "shared")
    assert shared["tags"] == ["crm", "contact:7"]
    own = present(explain("/api/v1/crm/contacts").cache)
    assert own["shared_with"] == "user:key:ada"
    assert present(explain("/api/v1/crm/other", "POST").cache)["rule"] == "POST requests are not served from the cache"
    assert present(explain("/api/v1/crm/contacts/7", "DELETE").cache)["invalidates"] == ["contact:7"]
    no_store: Headers = [(b"cache-control", b"no-store")]
    bypassed = present(explain("/api/v1/crm/contacts", headers=no_store).cache)
    assert bypassed["rule"] == "the request has no-store, If-Match or If-Unmodified-Since"


def test_the_call_section_shows_the_targets_and_no_secret() -> None:
    policy = RoutePolicy(headers=((b"authorization", b"hunter2"),))
    explanation = explain("/api/v1/crm/x", service=Service("crm", TARGETS, policy=policy))
    call = present(explanation.call)
    assert [target["share"] for target in call["targets"]] == [0.75, 0.25]
    assert call["timeout"] == {"connect": 2.0, "read": 10.0, "total": 30.0, "idle": 60.0, "stream": None, "ping": None}
    assert call["headers"] == ["authorization"]
    assert "hunter2" not in repr(explanation)


def test_an_open_circuit_refuses_and_shows_when_to_retry() -> None:
    explanation = explain(
        "/api/v1/crm/x", circuit=Snapshot(State.OPEN, 1, until=1_012.5, reason="5 failures within 60 s")
    )
    assert (explanation.verdict.status, explanation.verdict.code) == (503, "circuit_open")
    assert present(explanation.circuit)["retry_after"] == 12.5
    assert not present(explanation.circuit)["passes"]


def test_an_open_circuit_with_a_fallback_returns_it() -> None:
    service = Service("crm", TARGETS, policy=RoutePolicy(fallback=Fallback(status=203), breaker=BreakerPolicy()))
    explanation = explain("/api/v1/crm/x", service=service, circuit=Snapshot(State.FORCED_OPEN, 1))
    assert (explanation.verdict.outcome, explanation.verdict.status) == ("the fallback is returned", 203)


@pytest.mark.parametrize(
    ("fallback", "scopes", "verdict"),
    [
        (Fallback(service="calendar"), {"crm", "calendar"}, ("the fallback service calendar is called", None)),
        (Fallback(service="calendar", status=203), {"crm"}, ("the fallback is returned", 203)),
        (Fallback(service="calendar", has_response=False), {"crm"}, ("refused, unless the cache has a response", 503)),
        (Fallback(service="gone", has_response=False), {"*"}, ("refused, unless the cache has a response", 503)),
    ],
)
def test_an_open_circuit_goes_to_the_fallback_service_if_the_caller_may_use_it(
    fallback: Fallback, scopes: set[str], verdict: tuple[str, int | None]
) -> None:
    service = Service("crm", TARGETS, policy=RoutePolicy(fallback=fallback))
    caller = Caller("key:ada", scopes=frozenset(scopes))
    explanation = explain("/api/v1/crm/x", caller=caller, service=service, circuit=Snapshot(State.FORCED_OPEN, 1))
    assert (explanation.verdict.outcome, explanation.verdict.status) == verdict
    assert ("is not called" in explanation.verdict.detail) == ("calendar is called" not in verdict[0])
    assert present(explanation.call)["fallback"] == fallback.service


def test_an_open_circuit_whose_time_is_up_admits_a_probe() -> None:
    explanation = explain("/api/v1/crm/x", circuit=Snapshot(State.OPEN, 1, until=999.0))
    assert present(explanation.circuit)["state"] == "HALF_OPEN"
    assert explanation.verdict.status is None


def test_a_route_without_authentication_ignores_the_caller() -> None:
    open_service = Service("crm", TARGETS, policy=RoutePolicy(auth=Auth.NONE, cache=CachePolicy(tags=("of:{caller}",))))
    explanation = explain("/api/v1/crm/x", service=open_service)
    assert present(explanation.rate_limit)["counted_by"] == "192.0.2.1"
    assert present(explanation.cache)["shared_with"] == "user:anonymous"
    assert present(explanation.cache)["tags"] == ["crm", "of:anonymous"]


@pytest.mark.parametrize(
    ("path", "caller", "policy", "code"),
    [
        ("/api/v1/crm/x", None, RoutePolicy(), "unauthenticated"),
        ("/api/v1/nothing/x", None, RoutePolicy(), "unauthenticated"),
        ("/api/v1/crm/x", None, RoutePolicy(auth=Auth.NONE), None),
        ("/api/v1/crm/x", None, RoutePolicy(auth=Auth.OPTIONAL, scopes=("a",)), "unauthenticated"),
        ("/api/v1/crm/x", ADA, RoutePolicy(auth=Auth.NONE, scopes=("crm",)), "unauthenticated"),
        ("/api/v1/crm/x", ADA, RoutePolicy(scopes=("a",)), "forbidden"),
        ("/api/v1/crm/x", Caller("firebase:u"), RoutePolicy(), None),
        ("/api/v1/crm/x", ADA, RoutePolicy(enabled=False), "service_disabled"),
        ("/api/v1/crm/../x", ADA, RoutePolicy(), "bad_request"),
        ("/elsewhere", ADA, RoutePolicy(), "unknown_service"),
    ],
)
def test_the_gateways_own_error_is_shown(
    path: str, caller: Caller | None, policy: RoutePolicy, code: str | None
) -> None:
    explanation = explain(path, caller=caller, service=Service("crm", TARGETS, policy=policy))
    assert explanation.verdict.code == code


def test_a_method_that_no_matching_route_allows_is_405() -> None:
    explanation = explain("/api/v1/crm/contacts", "DELETE")
    assert (explanation.verdict.status, explanation.verdict.code) == (405, "method_not_allowed")
    assert explanation.routes[0].why == "matches the path, but allows only GET"


PATTERNS = st.lists(st.sampled_from(["a", "b", "{x}"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
PATHS = st.lists(st.sampled_from(["a", "b", "%61", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATTERNS, PATHS, st.booleans())
def test_mismatch_agrees_with_the_route_table(pattern: str, path: str, rest: bool) -> None:
    route = RoutePattern(f"{pattern.rstrip('/')}/*" if rest else pattern)
    paths = PathPolicy(empty_segments=Spelling.PASS)
    service = Service("s", TARGETS, routes=(route,), paths=paths)
    matched = RouteTable([service]).within(service, "GET", path.encode()).pattern == route.path
    mismatches = [mismatch(route, segments, paths) for segments in readings(path.encode(), paths)]
    assert (None in mismatches) == matched


def test_a_route_that_requires_a_certificate_or_a_signature_says_so() -> None:
    for auth in (Auth.CERTIFICATE, Auth.SIGNATURE):
        service = msgspec.structs.replace(CRM, policy=RoutePolicy(auth=auth), routes=())
        for caller in (None, ADA):
            found = explain("/api/v1/crm/x", service=service, caller=caller)
            assert (found.verdict.status, found.verdict.code) == (401, "unauthenticated")
            assert f"requires a {auth}, and reads neither" in present(found.access)["why"]
        for kind in (f"{auth}+acme:x", "staff:ann"):
            known = explain("/api/v1/crm/x", service=service, caller=Caller(kind))
            assert present(known.access)["allowed"]
    signed = msgspec.structs.replace(CRM, policy=RoutePolicy(signature=SignaturePolicy(tag="a")), routes=())
    assert present(explain("/api/v1/crm/x", service=signed).access)["signature"]["tag"] == "a"
