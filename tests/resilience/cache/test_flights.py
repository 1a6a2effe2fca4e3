"""One fetch at a time: who leads, who waits, and what becomes of both; alone, and by leases in a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from resilience.cache import flights as module
from resilience.cache.flights import MAX_UNCACHEABLE, UNCACHEABLE_SECONDS, FlightEnd, Flights
from resilience.cache.leases import ClaimResult, Leases, RedisLeases
from resilience.cache.messages import Forward, Fresh, LookupResult, Miss
from resilience.redis import RedisLink
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import Clock, make, until


def _is_over(timer: asyncio.TimerHandle) -> bool:
    return timer.when() < asyncio.get_running_loop().time()


NOTHING = Miss(Forward.URI_MISS, 7)
THERE = Fresh(make(), 0)


class Looking:
    """What a look at the store finds, in turn; the last for ever."""

    def __init__(self, *found: LookupResult) -> None:
        self.found = list(found)
        self.looks = 0

    async def __call__(self) -> LookupResult:
        self.looks += 1
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


@pytest.fixture
def clock() -> Clock:
    return Clock()


class TestInOneProcess:
    @pytest.fixture
    async def flights(self, clock: Clock) -> Flights:
        return Flights(clock=clock)

    async def test_who_begins_leads_and_others_find_it(self, flights: Flights) -> None:
        assert flights.get("s", "k") is None
        flight = flights.begin("s", "k")
        assert flights.get("s", "k") is flight
        assert flights.get("s", "other") is flights.get("other", "k") is None
        assert await flights.lead(flight, Looking(NOTHING)) is None

    @pytest.mark.parametrize("end", list(FlightEnd))
    async def test_all_who_wait_learn_its_end_and_the_next_leads_anew(self, flights: Flights, end: FlightEnd) -> None:
        flight = flights.begin("s", "k")
        waiting = [asyncio.create_task(flight.wait()) for _ in range(3)]
        flight.land(end)
        assert await asyncio.gather(*waiting) == [end] * 3
        assert flights.get("s", "k") is None

    async def test_only_its_first_end_counts(self, flights: Flights) -> None:
        flight = flights.begin("s", "k")
        flight.land(FlightEnd.STORED)
        flight.land(FlightEnd.ABANDONED)
        assert await flight.wait() is FlightEnd.STORED

    async def test_one_who_stops_waiting_ends_nothing(self, flights: Flights) -> None:
        flight = flights.begin("s", "k")
        waiting = asyncio.create_task(flight.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert not flight.end.done()

    async def test_what_cannot_be_kept_is_remembered_for_a_while(self, flights: Flights, clock: Clock) -> None:
        flights.begin("s", "k").land(FlightEnd.UNCACHEABLE, remember=True)
        assert flights.is_uncacheable("s", "k")
        assert not flights.is_uncacheable("s", "other")
        clock.now += UNCACHEABLE_SECONDS
        assert not flights.is_uncacheable("s", "k")

    async def test_until_it_can(self, flights: Flights) -> None:
        flights.begin("s", "k").land(FlightEnd.UNCACHEABLE, remember=True)
        flights.begin("s", "k").land(FlightEnd.STORED)
        assert not flights.is_uncacheable("s", "k")

    async def test_a_passing_fault_is_not_remembered(self, flights: Flights) -> None:
        flights.begin("s", "k").land(FlightEnd.UNCACHEABLE)
        assert not flights.is_uncacheable("s", "k")

    async def test_what_is_remembered_is_bounded(self, flights: Flights) -> None:
        for number in range(MAX_UNCACHEABLE + 1):
            flights.begin("s", str(number)).land(FlightEnd.UNCACHEABLE, remember=True)
        assert not flights.is_uncacheable("s", "0")
        assert flights.is_uncacheable("s", "1")

    async def test_a_body_that_takes_long_frees_those_who_wait(
        self, flights: Flights, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "BODY_SECONDS", 0.0)
        flight = flights.begin("s", "k")
        flight.body_started()
        assert await flight.wait() is FlightEnd.ABANDONED

    async def test_closing_strands_nobody(self, flights: Flights) -> None:
        waiting = asyncio.create_task(flights.begin("s", "k").wait())
        await flights.close()
        assert await waiting is FlightEnd.ABANDONED

    async def test_alone_there_is_nothing_to_renew_and_nobody_to_tell(self, flights: Flights) -> None:
        flight, looking = flights.begin("s", "k"), Looking(NOTHING)
        await flights.lead(flight, looking)
        assert flight.renewal is None
        flight.land(FlightEnd.STORED)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert looking.looks == 0


class TestAmongWorkers:
    @pytest.fixture
    async def link(self, redis_url: str, patient_links: None) -> AsyncIterator[RedisLink]:
        link = RedisLink(redis_url)
        yield link
        await link.close()

    @pytest.fixture
    def leases(self, link: RedisLink) -> Leases:
        return RedisLeases(link)

    async def test_one_at_a_time(self, leases: Leases) -> None:
        assert await leases.claim("s", "k", "one", missed=False) is ClaimResult.OURS
        assert await leases.claim("s", "k", "two", missed=False) is ClaimResult.THEIRS
        assert await leases.claim("s", "other", "two", missed=False) is ClaimResult.OURS
        assert await leases.claim("t", "k", "two", missed=False) is ClaimResult.OURS

    async def test_of_many_that_ask_at_once_one_has_each(self, leases: Leases) -> None:
        wishes = [(str(name), f"{name} {owner}") for owner in range(10) for name in range(20)]
        claims = await asyncio.gather(*(leases.claim("s", *wish, missed=False) for wish in wishes))
        held = [wish for wish, claim in zip(wishes, claims, strict=True) if claim is ClaimResult.OURS]
        assert sorted(name for name, _ in held) == sorted(str(name) for name in range(20))
        assert set(claims) == {ClaimResult.OURS, ClaimResult.THEIRS}
        words = (ClaimResult.OURS, ClaimResult.STORED, ClaimResult.UNCACHEABLE)
        await asyncio.gather(*(leases.release("s", *wish, words[int(wish[0]) % 3], 5.0) for wish in wishes))
        again = [await leases.claim("s", str(name), "new", missed=False) for name in range(20)]
        assert again == [words[name % 3] for name in range(20)]

    @pytest.mark.parametrize("said", [ClaimResult.OURS, ClaimResult.STORED, ClaimResult.UNCACHEABLE])
    async def test_the_next_learns_what_came_of_it(self, leases: Leases, said: ClaimResult) -> None:
        await leases.claim("s", "k", "one", missed=False)
        await leases.release("s", "k", "one", said, 60)
        assert await leases.claim("s", "k", "two", missed=False) is said

    async def test_a_look_from_before_it_was_stored_is_none_since(self, leases: Leases) -> None:
        """It is stored and said to be between the follower's look and its next word to the others."""
        flights, looks = Flights(leases, clock=Clock()), 0

        async def look() -> LookupResult:
            nonlocal looks
            looks += 1
            if looks > 1:
                return THERE
            await leases.release("s", "k", "one", ClaimResult.STORED, 5.0)
            return NOTHING

        await leases.claim("s", "k", "one", missed=False)
        assert await flights.lead(flights.begin("s", "k"), look) is THERE
        await flights.close()

    async def test_what_is_stored_is_no_answer_to_one_who_has_looked(self, leases: Leases) -> None:
        await leases.claim("s", "k", "one", missed=False)
        await leases.release("s", "k", "one", ClaimResult.STORED, 60)
        assert await leases.claim("s", "k", "two", missed=True) is ClaimResult.OURS

    async def test_nobody_ends_anothers(self, leases: Leases) -> None:
        await leases.claim("s", "k", "one", missed=False)
        await leases.release("s", "k", "two", ClaimResult.OURS, 0)
        assert await leases.claim("s", "k", "two", missed=False) is ClaimResult.THEIRS

    async def test_a_dead_ones_ends_by_itself(self, link: RedisLink, shared_redis: RedisServer) -> None:
        leases = RedisLeases(link, seconds=0.05)
        await leases.claim("s", "k", "dead", missed=False)

        async def free() -> bool:
            return await leases.claim("s", "k", "next", missed=False) is ClaimResult.OURS

        await until(free)

    async def test_a_living_ones_is_renewed_for_as_long_as_it_takes(
        self, link: RedisLink, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "RENEW_SECONDS", 0.1)
        leases = RedisLeases(link, seconds=1.0)
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        first = one.begin("s", "k")
        await one.lead(first, Looking(NOTHING))
        follower = asyncio.create_task(two.lead(two.begin("s", "k"), Looking(NOTHING)))
        await asyncio.sleep(1.5)
        assert not follower.done()
        first.land(FlightEnd.ABANDONED)
        await one.close()
        assert await follower is NOTHING  # which looked while it waited, and leads now
        await two.close()

    async def test_the_renewals_of_one_that_lost_its_lease_end(
        self, leases: Leases, clock: Clock, shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "RENEW_SECONDS", 0.01)
        flights = Flights(leases, clock=clock)
        flight = flights.begin("s", "k")
        await flights.lead(flight, Looking(NOTHING))
        with shared_redis.client() as outside:
            outside.set("gw:{s}:l:k", "another", px=60_000)
            assert not await leases.renew("s", "k", flight.owner)
            await until(lambda: flight.renewal is not None and not flights._tasks and _is_over(flight.renewal))
            flight.land(FlightEnd.STORED)
            await flights.close()
            assert outside.get("gw:{s}:l:k") == b"another"

    async def test_without_redis_renewing_goes_on_trying(
        self, own_redis: RedisServer, clock: Clock, monkeypatch: pytest.MonkeyPatch, patient_links: None
    ) -> None:
        monkeypatch.setattr(module, "RENEW_SECONDS", 0.05)
        link = RedisLink(own_redis.url)
        flights = Flights(RedisLeases(link), clock=clock)
        flight = flights.begin("s", "k")
        await flights.lead(flight, Looking(NOTHING))
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
    async def test_one_that_would_outlive_any_fetcher_is_cut_short(
        self, leases: Leases, shared_redis: RedisServer, milliseconds: int | None
    ) -> None:
        with shared_redis.client() as outside:
            outside.set("gw:{s}:l:k", "nobody", px=milliseconds)
            assert await leases.claim("s", "k", "one", missed=False) is ClaimResult.THEIRS
            assert 0 < int(str(outside.pttl("gw:{s}:l:k"))) <= 5_000

    async def test_who_was_late_looks_again(self, leases: Leases, clock: Clock) -> None:
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        first = one.begin("s", "k")
        assert await one.lead(first, Looking(NOTHING)) is None
        first.land(FlightEnd.STORED)
        await one.close()
        looking = Looking(THERE)
        assert await two.lead(two.begin("s", "k"), looking) is THERE
        assert looking.looks == 1

    async def test_and_fetches_if_what_it_finds_will_not_do(self, leases: Leases, clock: Clock) -> None:
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        first = one.begin("s", "k")
        await one.lead(first, Looking(NOTHING))
        first.land(FlightEnd.STORED)
        await one.close()
        second = two.begin("s", "k")
        assert await two.lead(second, Looking(NOTHING)) is NOTHING
        assert second.owner

    async def test_who_waits_is_served_as_soon_as_it_is_there(self, leases: Leases, clock: Clock) -> None:
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        await one.lead(one.begin("s", "k"), Looking(NOTHING))
        assert await two.lead(two.begin("s", "k"), Looking(NOTHING, NOTHING, THERE)) is THERE

    async def test_what_one_cannot_keep_the_other_does_not_wait_for(self, leases: Leases, clock: Clock) -> None:
        one, two = Flights(leases, clock=clock), Flights(leases, clock=clock)
        first = one.begin("s", "k")
        await one.lead(first, Looking(NOTHING))
        first.land(FlightEnd.UNCACHEABLE, remember=True)
        await one.close()
        second = two.begin("s", "k")
        assert await two.lead(second, Looking(NOTHING)) is None
        assert await second.wait() is FlightEnd.UNCACHEABLE
        assert two.is_uncacheable("s", "k")

    async def test_without_redis_each_worker_leads_alone(self, own_redis: RedisServer, clock: Clock) -> None:
        link = RedisLink(own_redis.url)
        own_redis.stop()
        flights = Flights(RedisLeases(link), clock=clock)
        flight = flights.begin("s", "k")
        assert await flights.lead(flight, Looking(NOTHING)) is None
        flight.land(FlightEnd.STORED)
        await flights.close()
        await link.close()
