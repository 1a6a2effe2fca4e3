"""Explain: the same verdicts as the gateway's own, without a call."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.breaker.machine import Snapshot, State
from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.caller import Caller
from routing.explain import Explainer, Explanation, mismatch
from routing.http import Headers, Request
from routing.router.policy import Auth, Fallback, RoutePolicy, Target
from routing.router.table import Route, RouteTable, Service, segments_of

HOST = (b"host", b"gateway.test")
ADA = Caller("key:ada", scopes=frozenset({"crm"}))
TARGETS = (Target("http://a", 3), Target("http://b", 1))
CRM = Service(
    "crm",
    TARGETS,
    hosts=("crm.example",),
    policy=RoutePolicy(cache=CachePolicy(ttl=30), rate_limit=RatePolicy(50, 60)),
    routes=(
        Route("/contacts", ("GET",), RoutePolicy(cache=CachePolicy(tags=("crm:contacts",)))),
        Route("/contacts/{id}", ("GET",), RoutePolicy(cache=CachePolicy(tags=("contact:{id}",), scope=Scope.SHARED))),
        Route("/contacts/{id}", (), RoutePolicy(cache=None, invalidates=("contact:{id}",))),
        Route("/contacts/{id}", ("PUT",)),
        Route("/reports/*", (), RoutePolicy(scopes=("reports",), cache=None, rate_limit=RatePolicy(5, 60))),
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


def said(part: dict[str, Any] | None) -> dict[str, Any]:
    assert part is not None
    return part


def test_it_names_the_route_its_parameters_and_why_each_other_route_is_not_the_one() -> None:
    told = explain("/api/v1/crm/contacts/7")
    assert said(told.service)["route"] == "/contacts/{id}"
    assert said(told.service)["params"] == {"id": "7"}
    assert [(route.matches, route.why) for route in told.routes] == [
        (False, "the path goes on with '7'"),
        (True, "the first that fits"),
        (False, "fits too, but comes after the one that matched"),
        (False, "fits the path, but is for PUT"),
        (False, "it wants 'reports' where the path has 'contacts'"),
    ]


def test_a_trailing_slash_is_named_as_the_reason() -> None:
    told = explain("/api/v1/crm/contacts/")
    assert said(told.service)["route"] == "<the service itself>"
    assert told.routes[0].why == "the path ends with a slash"
    assert told.routes[1].why == "{id} would be empty"


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("CRM", "crm: names are case-sensitive"), ("calender", "calendar: did you mean this?")],
)
def test_a_service_that_nearly_matched_is_named(asked: str, hint: str) -> None:
    told = explain(f"/api/v1/{asked}/x")
    assert (told.verdict.status, told.verdict.code) == (404, "unknown_service")
    assert told.nearly == (hint,)


def test_a_service_is_found_by_its_host() -> None:
    told = explain("/contacts", host=(b"host", b"crm.example:8000"))
    assert said(told.service)["found_by"] == "host"
    assert said(told.service)["route"] == "/contacts"


def test_it_tells_whose_limit_counts_and_by_whom() -> None:
    assert said(explain("/api/v1/crm/contacts/7").rate_limit)["whose"] == "the gateway's"
    assert said(explain("/api/v1/crm/other").rate_limit) == {
        "limit": 50,
        "window": 60.0,
        "whose": "the service's",
        "counted_by": "key:ada",
    }
    assert said(explain("/api/v1/crm/reports/a").rate_limit)["whose"] == "the route's"
    assert said(explain("/api/v1/crm/x", caller=None).rate_limit)["counted_by"] == "192.0.2.1"


def test_it_tells_what_the_cache_does_and_by_which_rule() -> None:
    shared = said(explain("/api/v1/crm/contacts/7").cache)
    assert (shared["consulted"], shared["scope"], shared["shared_with"]) == (True, "shared", "shared")
    assert shared["tags"] == ["crm", "contact:7"]
    own = said(explain("/api/v1/crm/contacts").cache)
    assert own["shared_with"] == "user:key:ada"
    assert said(explain("/api/v1/crm/other", "POST").cache)["rule"] == "POST is not answered from a cache"
    assert said(explain("/api/v1/crm/contacts/7", "DELETE").cache)["invalidates"] == ["contact:7"]
    no_store: Headers = [(b"cache-control", b"no-store")]
    assert said(explain("/api/v1/crm/contacts", headers=no_store).cache)["rule"] == "it says no-store"


def test_it_tells_where_the_call_would_go_without_a_secret() -> None:
    policy = RoutePolicy(headers=((b"authorization", b"hunter2"),))
    told = explain("/api/v1/crm/x", service=Service("crm", TARGETS, policy=policy))
    call = said(told.call)
    assert [target["share"] for target in call["targets"]] == [0.75, 0.25]
    assert call["timeout"] == {"connect": 2.0, "read": 10.0, "total": 30.0}
    assert call["headers"] == ["authorization"]
    assert "hunter2" not in repr(told)


def test_an_open_circuit_refuses_and_says_until_when() -> None:
    told = explain("/api/v1/crm/x", circuit=Snapshot(State.OPEN, 1, until=1_012.5, reason="5 failures within 60 s"))
    assert (told.verdict.status, told.verdict.code) == (503, "circuit_open")
    assert said(told.circuit)["retry_after"] == 12.5
    assert not said(told.circuit)["passes"]


def test_an_open_circuit_with_a_fallback_answers_it() -> None:
    service = Service("crm", TARGETS, policy=RoutePolicy(fallback=Fallback(status=203), breaker=BreakerPolicy()))
    told = explain("/api/v1/crm/x", service=service, circuit=Snapshot(State.FORCED_OPEN, 1))
    assert (told.verdict.outcome, told.verdict.status) == ("the fallback is answered", 203)


def test_an_open_circuit_whose_wait_is_over_lets_a_probe_pass() -> None:
    told = explain("/api/v1/crm/x", circuit=Snapshot(State.OPEN, 1, until=999.0))
    assert said(told.circuit)["state"] == "HALF_OPEN"
    assert told.verdict.status is None


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
def test_it_says_the_gateways_own_no(path: str, caller: Caller | None, policy: RoutePolicy, code: str | None) -> None:
    told = explain(path, caller=caller, service=Service("crm", TARGETS, policy=policy))
    assert told.verdict.code == code


def test_a_method_that_no_fitting_route_allows() -> None:
    told = explain("/api/v1/crm/contacts", "DELETE")
    assert (told.verdict.status, told.verdict.code) == (405, "method_not_allowed")
    assert told.routes[0].why == "fits the path, but is for GET"


PATTERNS = st.lists(st.sampled_from(["a", "b", "{x}"]), max_size=3).map(lambda parts: "/" + "/".join(parts))
PATHS = st.lists(st.sampled_from(["a", "b", "%61", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts))


@given(PATTERNS, PATHS, st.booleans())
def test_what_it_says_of_a_pattern_is_what_the_table_does(pattern: str, path: str, rest: bool) -> None:
    route = Route(f"{pattern.rstrip('/')}/*" if rest else pattern)
    service = Service("s", TARGETS, routes=(route,))
    matched = RouteTable([service]).within(service, "GET", path.encode()).pattern == route.path
    assert (mismatch(route, segments_of(path.encode())) is None) == matched
