"""Which requests are recorded, and what is recorded of them."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from metrics.request_log.memory import MemoryStore
from metrics.request_log.record import MASK, RecordKind, RequestRecord, mask_query
from metrics.request_log.recorder import MAX_PENDING, MAX_PER_SECOND, RequestRecorder
from metrics.request_log.search import RequestQuery
from metrics.request_log.store import NewRecord
from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from resilience.outage import StoreUnavailable
from routing.pipeline import Gateway
from routing.router.live import LiveConfiguration
from routing.router.policy import Fallback, Retries, RoutePolicy
from routing.router.request_log_policy import RequestLogPolicy
from routing.router.table import RoutePattern, RouteTable, Service
from tests.clock import FakeClock
from tests.gateway.conftest import QUICK, World, make_world

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\n\r\nok"
BROKEN = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
NOTHING = RequestLogPolicy(failures=False, slow=None, sample=0)
EVERYTHING = RequestLogPolicy(sample=1)
QUICK_RETRIES = Retries(attempts=1)


class Recorded:
    """A gateway whose requests are recorded, and its recorder."""

    def __init__(self, **options: Any) -> None:
        self.store = MemoryStore()

        def kind(**parts: Any) -> Gateway:
            self.recorder = RequestRecorder(self.store, parts["live"], **options)
            return Gateway(**parts, request_log=self.recorder)

        self.world: World = make_world("asgi", kind=kind)

    async def serve(self, *scripts: Any, log: RequestLogPolicy | None, **more: Any) -> None:
        policy = RoutePolicy(timeout=QUICK, request_log=log, **more)
        await self.world.serve(*scripts, policy=policy)
        # The countdown of the first sample began before there was a service.
        self.world.gateway._until_sample = self.recorder.next_sample()

    async def records(self, **query: Any) -> list[RequestRecord]:
        found = await self.recorder.search(RequestQuery(**query), limit=1_000)
        return [each.record for each in found.records]


@pytest.fixture
async def recorded() -> AsyncIterator[Recorded]:
    made = Recorded()
    yield made
    await made.world.close()


async def test_a_failed_request_is_recorded_with_its_steps(recorded: Recorded) -> None:
    await recorded.serve(BROKEN, log=RequestLogPolicy(sample=0), retries=QUICK_RETRIES)
    secret = recorded.world.key
    await recorded.world.request("GET", "/api/v1/crm/contacts?token=hunter2&page=", [("X-Request-ID", "the-id")])
    (record,) = await recorded.records()
    assert (record.id, record.kind, record.status, record.service) == ("the-id", RecordKind.FAILED, 502, "crm")
    assert (record.path, record.query) == ("/api/v1/crm/contacts", f"token={MASK}&page=")
    assert record.caller == f"key:{record.key}"
    assert record.target.startswith("http://127.0.0.1:")
    assert len(record.cache_key) == 40
    assert record.cache_rule == "300 s, per user"
    names = [step.name for step in record.steps]
    assert names[:4] == ["request id", "rate limit", "authentication", "service router"]
    assert names[4:] == ["cache check", "circuit breaker", "backend call, attempt 1", "store", "return"]
    times = [step.at for step in record.steps if step.at is not None]
    assert times == sorted(times)
    encoded = msgspec.json.encode(record).decode()
    assert "hunter2" not in encoded
    assert secret not in encoded


async def test_a_request_that_is_refused_at_once_names_the_step(recorded: Recorded) -> None:
    await recorded.serve(OK, log=RequestLogPolicy(sample=0))
    await recorded.world.request("GET", "/api/v1/crm/x", key="")
    (record,) = await recorded.records(status="401")
    assert (record.kind, record.code) == (RecordKind.CLIENT_ERROR, "unauthenticated")
    assert [(step.name, step.error) for step in record.steps] == [
        ("request id", ""),
        ("rate limit", ""),
        ("authentication", "unauthenticated"),
        ("return", ""),
    ]
    await recorded.world.request("GET", "/api/v1/nothing/x")
    (record,) = await recorded.records(code="unknown_service")
    assert record.service == ""


async def test_what_succeeds_quickly_is_not_recorded(recorded: Recorded) -> None:
    await recorded.serve(OK, log=RequestLogPolicy(sample=0), cache=CachePolicy(scope=Scope.SHARED))
    for _ in range(3):
        await recorded.world.request("GET", "/api/v1/crm/x")
    assert await recorded.records() == []


async def test_slow_responses_are_recorded(recorded: Recorded) -> None:
    await recorded.serve(OK, log=RequestLogPolicy(slow=1e-6, sample=0))
    await recorded.world.request("GET", "/api/v1/crm/x")
    (record,) = await recorded.records()
    assert (record.kind, record.status) == (RecordKind.SLOW, 200)
    assert 0 < record.head <= record.duration


async def test_a_sampled_hit_has_the_times_of_all_its_steps(recorded: Recorded) -> None:
    await recorded.serve(OK, log=EVERYTHING, cache=CachePolicy(scope=Scope.SHARED))
    for _ in range(2):
        await recorded.world.request("GET", "/api/v1/crm/x")
    hit, miss = await recorded.records()
    assert [hit.cache, miss.cache] == ["HIT", "MISS"]
    assert hit.cache_key == miss.cache_key
    assert [step.name for step in hit.steps if step.at is not None] == [
        "request id",
        "rate limit",
        "service router",
        "cache check",
        "return",
    ]


async def test_a_service_may_be_left_out(recorded: Recorded) -> None:
    await recorded.serve(BROKEN, log=None)
    await recorded.world.request("GET", "/api/v1/crm/x")
    await recorded.serve(BROKEN, log=NOTHING)
    await recorded.world.request("GET", "/api/v1/crm/x")
    assert await recorded.records() == []


async def test_a_request_that_no_route_accepts_is_one_of_its_service(recorded: Recorded) -> None:
    """For what is recorded too: a service that is left out is left out altogether."""
    for log in (RequestLogPolicy(), None):
        policy = RoutePolicy(timeout=QUICK, request_log=log)
        await recorded.world.serve(OK, policy=policy, routes=(RoutePattern("/x", ("GET",), policy),))
        assert (await recorded.world.request("DELETE", "/api/v1/crm/x")).status == 405
        assert (await recorded.world.request("GET", "/api/v1/crm/a%2Fb")).status == 400
    found = await recorded.records()
    assert [(each.service, each.route, each.status) for each in found] == [("crm", "", 400), ("crm", "", 405)]


async def test_a_configured_response_is_no_error_of_the_gateways_own(recorded: Recorded) -> None:
    breaker = BreakerPolicy(failure_threshold=1)
    await recorded.serve(BROKEN, log=RequestLogPolicy(), breaker=breaker, fallback=Fallback(status=203, body={}))
    for status in (502, 203):
        assert (await recorded.world.request("POST", "/api/v1/crm/x")).status == status
    last, _ = await recorded.records()
    assert (last.kind, last.status, last.code, last.call) == (RecordKind.FAILED, 203, "", "circuit_open")
    assert [each.code for each in recorded.world.observer.requests] == ["", ""]


async def test_a_larger_share_holds_as_soon_as_the_configuration_is_in_use(recorded: Recorded) -> None:
    """Not only once the requests are passed over that the former share let through: a hundred on average."""
    await recorded.world.serve(*[OK] * 3, policy=RoutePolicy(timeout=QUICK, request_log=EVERYTHING))
    for _ in range(3):
        await recorded.world.request("GET", "/api/v1/crm/x")
    assert len(await recorded.records()) == 2


async def test_a_service_samples_its_own_share() -> None:
    """The one with the largest share decides how many have a step log; another keeps fewer of them."""
    chances = iter([0.5, 0.5] * 1_000)
    recorded = Recorded(chance=lambda: next(chances))
    await recorded.serve(OK, log=RequestLogPolicy(sample=0.25))
    recorded.world.add(Service("all", (), policy=RoutePolicy(request_log=EVERYTHING)))
    assert recorded.recorder.next_sample() == 0
    await recorded.world.request("GET", "/api/v1/crm/x")
    assert await recorded.records() == []
    await recorded.world.close()


async def test_a_flood_of_errors_is_counted_and_not_recorded() -> None:
    recorded = Recorded(timer=lambda: 1.0)
    await recorded.serve(OK, log=RequestLogPolicy(sample=0))
    for _ in range(MAX_PER_SECOND + 7):
        await recorded.world.request("GET", "/api/v1/crm/x", key="")
    await recorded.world.serve(BROKEN, name="broken", policy=RoutePolicy(timeout=QUICK, retries=QUICK_RETRIES))
    await recorded.world.request("GET", "/api/v1/broken/x")
    assert len(await recorded.records(kind=RecordKind.CLIENT_ERROR)) == MAX_PER_SECOND
    assert len(await recorded.records(kind=RecordKind.FAILED)) == 1
    assert await recorded.recorder.omitted() == 7
    await recorded.world.close()


async def test_no_more_is_sampled_in_a_second_than_costs_little() -> None:
    second = FakeClock()
    recorded = Recorded(timer=second)
    await recorded.serve(OK, log=EVERYTHING, cache=CachePolicy(scope=Scope.SHARED))
    for _ in range(MAX_PER_SECOND + 5):
        await recorded.world.request("GET", "/api/v1/crm/x")
    assert len(await recorded.records()) == MAX_PER_SECOND
    second.advance(1)
    await recorded.world.request("GET", "/api/v1/crm/x")
    assert len(await recorded.records()) == MAX_PER_SECOND + 1
    assert await recorded.recorder.omitted() == 0
    await recorded.world.close()


class Away(MemoryStore):
    is_away = True

    async def add(self, records: Sequence[NewRecord], omitted: int) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        await super().add(records, omitted)


async def test_while_the_store_is_away_a_worker_keeps_its_own_and_shows_them() -> None:
    second = FakeClock()
    recorded = Recorded(timer=second)
    recorded.store = recorded.recorder._store = Away()
    await recorded.serve(BROKEN, log=RequestLogPolicy(sample=0))
    await recorded.world.request("GET", "/api/v1/crm/x", [("X-Request-ID", "kept")])
    found = await recorded.recorder.search(RequestQuery(), limit=10)
    assert ([each.record.id for each in found.records], found.is_shared) == (["kept"], False)
    assert [each.record.id for each in (await recorded.recorder.find("kept")).records] == ["kept"]
    for number in range(MAX_PENDING):
        recorded.recorder._put(NewRecord(RecordKind.FAILED, str(number), b""))
    assert len(recorded.recorder._pending) == MAX_PENDING
    recorded.store.is_away = False
    await recorded.recorder.flush()
    assert recorded.recorder._pending == type(recorded.recorder._pending)()
    assert await recorded.recorder.omitted() == 1
    await recorded.world.close()


def test_no_more_requests_are_sampled_than_the_share() -> None:
    live = LiveConfiguration(RouteTable([Service("crm", (), policy=RoutePolicy(request_log=RequestLogPolicy()))]))
    recorder = RequestRecorder(MemoryStore(), live)
    gaps = [recorder.next_sample() for _ in range(20_000)]
    assert 0.009 < len(gaps) / (sum(gaps) + len(gaps)) < 0.011


@pytest.mark.parametrize(
    ("query", "masked"),
    [
        (b"", ""),
        (b"a=1&b=2", f"a={MASK}&b={MASK}"),
        (b"hunter2", MASK),
        (b"a=&b", f"a=&{MASK}"),
        (b"x" * 100 + b"=1", MASK),
        (b"a=b=c;d=e", f"a={MASK}"),
        (b"&".join([b"a=1"] * 60), "&".join([f"a={MASK}"] * 50 + [MASK])),
    ],
)
def test_queries_are_masked(query: bytes, masked: str) -> None:
    assert mask_query(query) == masked


@pytest.mark.parametrize("status", ["abc", "6xx", "99", "5XX", "4xx "])
def test_a_status_that_is_none_is_refused(status: str) -> None:
    with pytest.raises(ValueError, match="status"):
        RequestQuery(status=status)
