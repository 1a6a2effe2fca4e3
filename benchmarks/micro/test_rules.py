"""Microbenchmarks by pytest-benchmark. Bounds are asserted as ratios, or with a wide margin."""

import secrets
import timeit
from statistics import median
from typing import Final

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from resilience.breaker import machine
from resilience.breaker.driver import Breaker, Breakers
from resilience.breaker.machine import Outcome, Permit, Snapshot
from resilience.breaker.memory import MemoryStore as Circuits
from resilience.breaker.policy import BreakerPolicy
from resilience.cache import serving
from resilience.cache.entry import Entry
from resilience.cache.key import key
from resilience.cache.messages import CacheRequest, Fresh
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as Rates
from resilience.ratelimit.policy import RatePolicy
from routing.http import Headers
from routing.messages import forwarding
from routing.messages.references import PublicAddress
from routing.router.policy import Target
from routing.router.table import RoutePattern, RouteTable, Service

NOW: Final = 1_795_000_000.0
TARGET: Final = Target("http://127.0.0.1:9101")
CHECK_SECONDS: Final = 5e-6
MATCH_RATIO: Final = 1.2
REQUEST_FIELDS: Final[Headers] = [
    (b"host", b"gateway.example.com"),
    (b"user-agent", b"python-requests/2.34.2"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"connection", b"keep-alive"),
    (b"x-api-key", b"gw_3f9a_0123456789abcdef0123456789abcdef"),
]
RESPONSE_FIELDS: Final[Headers] = [
    (b"server", b"nginx"),
    (b"date", b"Tue, 24 Nov 2026 12:00:00 GMT"),
    (b"content-type", b"application/json"),
    (b"content-length", b"1810"),
    (b"connection", b"keep-alive"),
    (b"etag", b'"v1"'),
    (b"cache-control", b"public, max-age=3600"),
]
ADDED_FIELDS: Final[Headers] = [
    (b"x-request-id", b"0198c0de-0000-7000-8000-000000000000"),
    (b"x-gateway-caller", b"key:billing"),
    (b"x-forwarded-for", b"127.0.0.1"),
    (b"x-forwarded-proto", b"http"),
    (b"via", b"1.1 gateway"),
]


@pytest.fixture
def breaker() -> Breaker:
    return Breakers(Circuits()).of("crm", BreakerPolicy())


class TestCircuit:
    def test_admission_while_closed(self, benchmark: BenchmarkFixture, breaker: Breaker) -> None:
        assert isinstance(benchmark(breaker.try_admit), Permit)
        if benchmark.stats is not None:
            assert benchmark.stats.stats.median < CHECK_SECONDS

    def test_success_reported_while_closed(self, benchmark: BenchmarkFixture, breaker: Breaker) -> None:
        permit = breaker.try_admit()
        assert isinstance(permit, Permit)
        assert benchmark(breaker.report, permit, Outcome.SUCCESS) is None

    def test_failure_recorded_by_the_state_machine(self, benchmark: BenchmarkFixture) -> None:
        snapshot = benchmark(machine.record, Snapshot(), BreakerPolicy(), Permit(0), Outcome.FAILURE, NOW)
        assert snapshot != Snapshot()


class TestRateLimiter:
    def test_request_granted(self, benchmark: BenchmarkFixture) -> None:
        limiter, policy = Limiter(Rates()), RatePolicy(999_999_999)
        decision = benchmark(limiter.try_take, "key:billing", policy)
        assert decision is not None
        assert decision.granted

    def test_request_denied(self, benchmark: BenchmarkFixture) -> None:
        limiter, policy = Limiter(Rates()), RatePolicy(1, 86_400)
        limiter.try_take("key:billing", policy)
        decision = benchmark(limiter.try_take, "key:billing", policy)
        assert decision is not None
        assert not decision.granted


class TestCache:
    def test_key_built(self, benchmark: BenchmarkFixture) -> None:
        built = benchmark(key, "slackIntelligence", "u:key:billing", b"/api/v1/slackIntelligence/channels", b"limit=50")
        assert built

    def test_freshness_evaluated(self, benchmark: BenchmarkFixture) -> None:
        entry = Entry(
            status=200,
            headers=tuple(RESPONSE_FIELDS),
            body=b"x" * 1_810,
            stored_at=NOW,
            generated_at=NOW,
            fresh_until=NOW + 300,
            stale_until=NOW + 600,
        )
        request = CacheRequest("GET", REQUEST_FIELDS, authenticated=True)
        assert isinstance(benchmark(serving.lookup, entry, request, NOW + 1), Fresh)


class TestHeaderFields:
    def test_request_fields_forwarded_to_the_backend(self, benchmark: BenchmarkFixture) -> None:
        cookies = frozenset({b"sessionid", b"csrftoken"})
        forwarded = benchmark(forwarding.to_backend, REQUEST_FIELDS, ADDED_FIELDS, cookies, keep_credential=False)
        assert (b"via", b"1.1 gateway") in forwarded

    def test_response_fields_forwarded_to_the_client(self, benchmark: BenchmarkFixture) -> None:
        forwarded = benchmark(
            forwarding.to_client, RESPONSE_FIELDS, TARGET, PublicAddress(b"/api/v1/crm"), frozenset({b"sessionid"})
        )
        assert (b"etag", b'"v1"') in forwarded


def table(routes: int) -> RouteTable:
    """One service with this many routes, each with a path parameter."""
    patterns = tuple(RoutePattern(f"/area{number}/{{id}}/items", ("GET",)) for number in range(routes))
    return RouteTable([Service("crm", (TARGET,), routes=patterns)])


class TestRouter:
    @pytest.mark.parametrize("routes", [10, 1_000, 10_000])
    def test_match_among(self, benchmark: BenchmarkFixture, routes: int) -> None:
        served, path = table(routes), b"/area%d/4711/items" % (routes // 2)
        assert benchmark(served.match, "crm", "GET", path).params == (("id", "4711"),)

    def test_10_000_routes_take_at_most_a_fifth_longer_than_10(self) -> None:
        few, many = table(10), table(10_000)
        paths = [b"/area%d/4711/items" % (secrets.randbelow(10)) for _ in range(100)]
        deep = [b"/area%d/4711/items" % (secrets.randbelow(10_000)) for _ in range(100)]
        rounds = [(_seconds(few, paths), _seconds(many, deep)) for _ in range(21)]
        assert median(slow / fast for fast, slow in rounds) < MATCH_RATIO


def _seconds(served: RouteTable, paths: list[bytes]) -> float:
    def match_all() -> None:
        for path in paths:
            served.match("crm", "GET", path)

    return min(timeit.repeat(match_all, number=20, repeat=3))
