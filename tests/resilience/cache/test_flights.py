"""Request coalescing: leading and waiting, in one process and by leases in a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from resilience.cache import flights as module
from resilience.cache.flights import MAX_UNCACHEABLE, UNCACHEABLE_SECONDS, FlightEnd, Flights
from resilience.cache.leases import Claim, ClaimResult, Leases
from resilience.cache.messages import Forward, Fresh, LookupResult, Miss
from resilience.cache.redis_leases import RedisLeases
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import Clock, make, until


def _has_expired(timer: asyncio.TimerHandle) -> bool:
    return timer.when() < asyncio.get_running_loop().time()


MISS = Miss(Forward.URI_MISS, 7)
FRESH = Fresh(make(), 0)


class FakeLookup:
    """Returns the given results in turn, and the last one for ever."""

    def __init__(self, *found: LookupResult) -> None:
        self.found = list(found)
        self.count = 0

    async def __call__(self) -> LookupResult:
        self.count += 1
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestInOneProcess:
    @pytest.fixture
    async def flights(self, clock: Clock) -> Flights:
        return Flights(clock=clock)

    async def test_the_first_leads_and_others_find_its_flight(self, flights: Flights) -> None:
        assert flights.get("s", "k") is None
        flight = flights.begin("s", "k")
        assert flights.get("s", "k") is flight
        assert flights.get("s", "other") is flights.get("other", "k") is None
        assert await flights.lead(flight, FakeLookup(MISS)) is None

    @pytest.mark.parametrize("end", list(FlightEnd))
    async def test_every_waiter_gets_the_end_and_the_next_request_leads(self, flights: Flights, end: FlightEnd) -> None:
        flight = flights.begin("s", "k")
        waiting = [asyncio.create_task(flight.wait()) for _ in range(3)]
        flight.land(end)
        assert await asyncio.gather(*waiting) == [end] * 3
        assert flights.get("s", "k") is None

    async def test_only_the_first_landing_counts(self, flights: Flights) -> None:
        flight = flights.begin("s", "k")
        flight.land(FlightEnd.STORED)
        flight.land(FlightEnd.ABANDONED)
        assert await flight.wait() is FlightEnd.STORED

    async def test_a_cancelled_waiter_does_not_end_the_flight(self, flights: Flights) -> None:
        flight = flights.begin("s", "k")
        waiting = asyncio.create_task(flight.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not flight.end.done()

    async def test_an_uncacheable_response_is_remembered_for_a_while(self, flights: Flights, clock: Clock) -> None:
        flights.begin("s", "k").land(FlightEnd.UNCACHEABLE, remember=True)
        assert flights.is_uncacheable("s", "k")
        assert not flights.is_uncacheable("s", "other")
        clock.now += UNCACHEABLE_SECONDS
        assert not flights.is_uncacheable("s", "k")

    async def test_a_stored_response_is_no_longer_uncacheable(self, flights: Flights) -> None:
        flights.begin("s", "k").land(FlightEnd.UNCACHEABLE, remember=True)
        flights.begin("s", "k").land(FlightEnd.STORED)
        assert not flights.is_uncacheable("s", "k")

    async def test_a_temporary_failure_is_not_remembered(self, flights: Flights) -> None:
        flights.begin("s", "k").land(FlightEnd.UNCACHEABLE)
        assert not flights.is_uncacheable("s", "k")

    async def test_the_number_of_remembered_responses_is_bounded(self, flights: Flights) -> None:
        for number in range(MAX_UNCACHEABLE + 1):
            flights.begin("s", str(number)).land(FlightEnd.UNCACHEABLE, remember=True)
        assert not flights.is_uncacheable("s", "0")
        assert flights.is_uncacheable("s", "1")

    async def test_waiters_give_up_on_a_slow_body(self, flights: Flights, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "BODY_SECONDS", 0.0)
        flight = flights.begin("s", "k")
        flight.body_started()
        assert await flight.wait() is FlightEnd.ABANDONED

    async def test_closing_ends_every_wait(self, flights: Flights) -> None:
        waiting = asyncio.create_task(flights.begin("s", "k").wait())
        await flights.close()
        assert await waiting is FlightEnd.ABANDONED

    async def test_without_leases_there_is_nothing_to_renew_or_release(self, flights: Flights) -> None:
        flight, lookup = flights.begin("s", "k"), FakeLookup(MISS)
        await flights.lead(flight, lookup)
        assert flight.renewal is None
        flight.land(FlightEnd.STORED)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert lookup.count == 0


class TestAmongWorkers:
    @pytest.fixture
    async def link(self, redis_url: str) -> AsyncIterator[RedisLink]:
        link = RedisLink(redis_url)
        yield link
        await link.close()

    @pytest.fixture
    def leases(self, link: RedisLink) -> Leases:
        return RedisLeases(link)

    async def test_a_lease_has_one_owner_at_a_time(self, leases: Leases) -> None:
        assert await leases.claim("s", "k", "one", missed=False) is ClaimResult.OURS
        assert await leases.claim("s", "k", "two", missed=False) is ClaimResult.THEIRS
        assert await leases.claim("s", "other", "two", missed=False) is ClaimResult.OURS
        assert await leases.claim("t", "k", "two", missed=False) is ClaimResult.OURS

    async def test_of_concurrent_claims_one_gets_each_lease(self, leases: Leases) -> None:
        requests = [(str(name), f"{name} {owner}") for owner in range(10) for name in range(20)]
        claims = await asyncio.gather(*(leases.claim("s", *request, missed=False) for request in requests))
        granted = [request for request, claim in zip(requests, claims, strict=True) if claim is ClaimResult.OURS]
        assert sorted(name for name, _ in granted) == sorted(str(name) for name in range(20))
        assert set(claims) == {ClaimResult.OURS, ClaimResult.THEIRS}
        results = (ClaimResult.OURS, ClaimResult.STORED, ClaimResult.UNCACHEABLE)
        await asyncio.gather(
            *(leases.release("s", *request, results[int(request[0]) % 3], 5.0) for request in requests)
        )
        again = [await leases.claim("s", str(name), "new", missed=False) for name in range(20)]
        assert again == [results[name % 3] for name in range(20)]

    @pytest.mark.parametrize("result", [ClaimResult.OURS, ClaimResult.STORED, ClaimResult.UNCACHEABLE])
    async def test_the_next_claim_gets_the_released_result(self, leases: Leases, result: ClaimResult) -> None:
        await leases.claim("s", "k", "one", missed=False)
        await leases.release("s", "k", "one", result, 60)
        assert await leases.claim("s", "k", "two", missed=False) is result

    async def test_a_lookup_before_the_response_was_stored_does_not_count_as_missed(self, leases: Leases) -> None:
        """The response is stored between the follower's lookup and its next claim."""
        flights, count = Flights(leases, clock=Clock()), 0

        async def look_up() -> LookupResult:
            nonlocal count
            count += 1
            if count > 1:
                return FRESH
            await leases.release("s", "k", "one", ClaimResult.STORED, 5.0)
            return MISS

        await leases.claim("s", "k", "one", missed=False)
        assert await flights.lead(flights.begin("s", "k"), look_up) is FRESH
        await flights.close()

    async def test_stored_is_ignored_by_a_claim_after_a_missed_lookup(self, leases: Leases) -> None:
        await leases.claim("s", "k", "one", missed=False)
        await leases.release("s", "k", "one", ClaimResult.STORED, 60)
        assert await leases.claim("s", "k", "two", missed=True) is ClaimResult.OURS

    async def test_only_the_owner_can_release_a_lease(self, leases: Leases) -> None:
        await leases.claim("s", "k", "one", missed=False)
        await leases.release("s", "k", "two", ClaimResult.OURS, 0)
        assert await leases.claim("s", "k", "two", missed=False) is ClaimResult.THEIRS

    async def test_a_dead_owners_lease_expires(self, link: RedisLink, shared_redis: RedisServer) -> None:
        leases = RedisLeases(link, seconds=0.05)
        await leases.claim("s", "k", "dead", missed=False)

        async def is_free() -> bool:
            return await leases.claim("s", "k", "next", missed=False) is ClaimResult.OURS

        await until(is_free)

    async def test_a_lease_is_renewed_while_its_flight_lasts(
        self, link: RedisLink, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
        leases = RedisLeases(link, seconds=1.0)
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        first = one.begin("s", "k")
        await one.lead(first, FakeLookup(MISS))
        follower = asyncio.create_task(two.lead(two.begin("s", "k"), FakeLookup(MISS)))
        await asyncio.sleep(1.5)
        assert not follower.done()
        first.land(FlightEnd.ABANDONED)
        await one.close()
        assert await follower is MISS  # the result of its last lookup: it leads now
        await two.close()

    async def test_renewals_end_when_the_lease_is_lost(
        self, leases: Leases, clock: Clock, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "RENEW_SECONDS", 0.01)
        flights = Flights(leases, clock=clock)
        flight = flights.begin("s", "k")
        await flights.lead(flight, FakeLookup(MISS))
        with shared_redis.client() as outside:
            outside.set("gw:{s}:l:k", "another", px=60_000)
            assert not await leases.renew("s", "k", flight.owner)
            await until(lambda: flight.renewal is not None and not flights._tasks and _has_expired(flight.renewal))
            flight.land(FlightEnd.STORED)
            await flights.close()
            assert outside.get("gw:{s}:l:k") == b"another"

    async def test_renewals_are_retried_while_redis_is_unavailable(
        self, own_redis: RedisServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "RENEW_SECONDS", 0.05)
        link = RedisLink(own_redis.url)
        flights = Flights(RedisLeases(link), clock=clock)
        flight = flights.begin("s", "k")
        await flights.lead(flight, FakeLookup(MISS))
        own_redis.stop()
        await until(lambda: link.unavailable)
        own_redis.start()
        with own_redis.client() as outside:
            outside.set("gw:{s}:l:k", flight.owner, px=60_000)
            await until(lambda: 0 < int(str(outside.pttl("gw:{s}:l:k"))) <= 5_000)
        flight.land(FlightEnd.ABANDONED)
        await flights.close()
        await link.close()

    @pytest.mark.parametrize("milliseconds", [None, 3_600_000])
    async def test_a_key_that_outlives_the_term_of_a_lease_is_shortened(
        self, leases: Leases, shared_redis: RedisServer, milliseconds: int | None
    ) -> None:
        with shared_redis.client() as outside:
            outside.set("gw:{s}:l:k", "nobody", px=milliseconds)
            assert await leases.claim("s", "k", "one", missed=False) is ClaimResult.THEIRS
            assert 0 < int(str(outside.pttl("gw:{s}:l:k"))) <= 5_000

    async def test_a_fetch_that_was_claimed_with_the_lookup_is_led_at_once(
        self, leases: Leases, clock: Clock, shared_redis: RedisServer
    ) -> None:
        flights, lookup = Flights(leases, clock=clock), FakeLookup(MISS)
        with shared_redis.client() as outside:
            outside.set("gw:{s}:l:k", "me", px=5_000)
            flight = flights.begin("s", "k")
            assert await flights.lead(flight, lookup, Claim("me", ClaimResult.OURS)) is None
            assert (flight.owner, lookup.count) == ("me", 0)
            flight.land(FlightEnd.ABANDONED)
            await flights.close()
            assert outside.get("gw:{s}:l:k") is None

    async def test_a_fetch_that_another_has_claimed_is_waited_for(self, leases: Leases, clock: Clock) -> None:
        flights, lookup = Flights(leases, clock=clock), FakeLookup(MISS, FRESH)
        await leases.claim("s", "k", "another", missed=False)
        claim = Claim("me", ClaimResult.THEIRS)
        assert await flights.lead(flights.begin("s", "k"), lookup, claim) is FRESH
        assert lookup.count == 2
        uncacheable = Claim("me", ClaimResult.UNCACHEABLE)
        assert await flights.lead(flights.begin("s", "other"), lookup, uncacheable) is None
        assert flights.is_uncacheable("s", "other")
        await flights.close()

    async def test_one_lookup_of_a_process_claims_at_a_time(self, leases: Leases, clock: Clock) -> None:
        flights = Flights(leases, clock=clock)
        with flights.claimant("s", "k") as owner:
            assert owner
            assert not flights.may_claim("s", "k")
            assert flights.may_claim("s", "other")
        assert flights.may_claim("s", "k")
        flight = flights.begin("s", "k")
        assert not flights.may_claim("s", "k")
        flight.land(FlightEnd.UNCACHEABLE, remember=True)
        assert not flights.may_claim("s", "k")
        assert not Flights(clock=clock).may_claim("s", "other")  # without leases there is nothing to claim
        await flights.close()

    async def test_a_claim_that_is_given_up_is_free_at_once(self, leases: Leases, clock: Clock) -> None:
        flights = Flights(leases, clock=clock)
        await leases.claim("s", "k", "me", missed=False)
        flights.give_up("s", "k", Claim("me", ClaimResult.THEIRS))
        flights.give_up("s", "k", None)
        await flights.close()
        assert await leases.claim("s", "k", "you", missed=False) is ClaimResult.THEIRS
        flights.give_up("s", "k", Claim("me", ClaimResult.OURS))
        await flights.close()
        assert await leases.claim("s", "k", "you", missed=False) is ClaimResult.OURS

    @pytest.fixture
    def held(self, leases: Leases, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
        """A claim is noted in Redis, which sets the first event, and known here once the second one is set."""
        claim, noted, known = leases.claim, asyncio.Event(), asyncio.Event()

        async def slow(*arguments: str, missed: bool) -> ClaimResult:
            result = await claim(*arguments, missed=missed)
            if not noted.is_set():
                noted.set()
                await known.wait()
            return result

        monkeypatch.setattr(leases, "claim", slow)
        return noted, known

    async def test_a_claim_that_is_cancelled_is_free_at_once(
        self, leases: Leases, clock: Clock, held: tuple[asyncio.Event, asyncio.Event]
    ) -> None:
        flights = Flights(leases, clock=clock)
        leading = asyncio.create_task(flights.lead(flights.begin("s", "k"), FakeLookup(MISS)))
        await held[0].wait()
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        await flights.close()
        assert await leases.claim("s", "k", "other", missed=False) is ClaimResult.OURS

    async def test_a_flight_that_lands_while_it_is_claimed_leaves_no_lease(
        self, leases: Leases, clock: Clock, held: tuple[asyncio.Event, asyncio.Event], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a computation does whose value is invalidated meanwhile. The release may overtake the claim."""
        flights, release = Flights(leases, clock=clock), leases.release
        flight = flights.begin("s", "k")
        leading = asyncio.create_task(flights.lead(flight, FakeLookup(MISS)))
        await held[0].wait()
        with monkeypatch.context() as overtaken:
            overtaken.setattr(leases, "release", lambda *_: asyncio.sleep(0))
            flight.land(FlightEnd.ABANDONED)
            await asyncio.sleep(0)
        monkeypatch.setattr(leases, "release", release)
        held[1].set()
        await leading
        await flights.close()
        assert await leases.claim("s", "k", "other", missed=False) is ClaimResult.OURS

    async def test_a_late_claim_looks_up_the_stored_response(self, leases: Leases, clock: Clock) -> None:
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        first = one.begin("s", "k")
        assert await one.lead(first, FakeLookup(MISS)) is None
        first.land(FlightEnd.STORED)
        await one.close()
        lookup = FakeLookup(FRESH)
        assert await two.lead(two.begin("s", "k"), lookup) is FRESH
        assert lookup.count == 1

    async def test_a_late_claim_leads_if_the_stored_response_is_not_usable(self, leases: Leases, clock: Clock) -> None:
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        first = one.begin("s", "k")
        await one.lead(first, FakeLookup(MISS))
        first.land(FlightEnd.STORED)
        await one.close()
        second = two.begin("s", "k")
        assert await two.lead(second, FakeLookup(MISS)) is MISS
        assert second.owner

    async def test_a_waiting_worker_gets_the_response_as_soon_as_it_is_stored(
        self, leases: Leases, clock: Clock
    ) -> None:
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        await one.lead(one.begin("s", "k"), FakeLookup(MISS))
        assert await two.lead(two.begin("s", "k"), FakeLookup(MISS, MISS, FRESH)) is FRESH

    async def test_workers_do_not_wait_for_an_uncacheable_response(self, leases: Leases, clock: Clock) -> None:
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        first = one.begin("s", "k")
        await one.lead(first, FakeLookup(MISS))
        first.land(FlightEnd.UNCACHEABLE, remember=True)
        await one.close()
        second = two.begin("s", "k")
        assert await two.lead(second, FakeLookup(MISS)) is None
        assert await second.wait() is FlightEnd.UNCACHEABLE
        assert two.is_uncacheable("s", "k")

    async def test_without_redis_each_worker_leads_its_own_flight(self, own_redis: RedisServer, clock: Clock) -> None:
        link = RedisLink(own_redis.url)
        own_redis.stop()
        flights = Flights(RedisLeases(link), clock=clock)
        flight = flights.begin("s", "k")
        assert await flights.lead(flight, FakeLookup(MISS)) is None
        flight.land(FlightEnd.STORED)
        await flights.close()
        await link.close()
