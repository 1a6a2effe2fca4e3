"""Request coalescing: one fetch at a time per response, by a future in this process and by a lease among processes."""

import asyncio
import contextlib
import itertools
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from resilience.cache.leases import RENEW_SECONDS, STORED_SECONDS, Claim, ClaimResult, Leases, Release
from resilience.cache.messages import Fresh, LookupResult
from resilience.outage import StoreUnavailable
from resilience.task_set import TaskSet

UNCACHEABLE_SECONDS: Final = 5.0
"""How long a response is remembered as uncacheable, so that requests for it do not wait for each other."""
MAX_UNCACHEABLE: Final = 4_096
"""The most uncacheable responses that are remembered."""
BODY_SECONDS: Final = 2.0
"""How long others wait once the body has started: it is read at the pace of the leader's client, which may be slow."""
LEASE_POLL_SECONDS: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""The pauses between polls of another worker's lease; the last is repeated."""

_Name = tuple[str, str]


class FlightEnd(Enum):
    """How a flight ended for those who waited for it."""

    STORED = auto()
    UNCACHEABLE = auto()
    """Nothing was stored, nor will be: each request makes a fetch of its own."""
    ABANDONED = auto()
    """The leader gave up: another request has to lead."""
    FAILED = auto()
    """The fetch failed for all, with the flight's `error`."""


@dataclass(eq=False, slots=True)
class Flight:
    """One fetch by its leader, who must call `land` in any case; only the first call has an effect."""

    service: str
    name: str
    on_landed: Callable[["Flight", float], None]
    owner: str = ""
    error: Exception | None = None
    renewal: asyncio.TimerHandle | None = None
    end: "asyncio.Future[FlightEnd]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def land(self, end: FlightEnd, *, remember: bool = False, error: Exception | None = None) -> None:
        """End the flight. `remember`: treat the response as uncacheable for a while."""
        if not self.end.done():
            self.error = error
            self.end.set_result(end)
            self.on_landed(self, UNCACHEABLE_SECONDS if remember else 0.0)

    def body_started(self) -> None:
        """Let those who wait give up after BODY_SECONDS."""
        self.end.get_loop().call_later(BODY_SECONDS, self.land, FlightEnd.ABANDONED)

    async def wait(self) -> FlightEnd:
        """Wait for the end. Cancelling one waiter does not affect the others."""
        return await asyncio.shield(self.end)

    def release_for(self, end: FlightEnd, uncacheable_seconds: float = 0.0) -> Release | None:
        """How the flight's lease ends with it; None if it has none."""
        if not self.owner:
            return None
        if end is FlightEnd.STORED:
            result, seconds = ClaimResult.STORED, STORED_SECONDS
        elif end is FlightEnd.UNCACHEABLE and uncacheable_seconds:
            result, seconds = ClaimResult.UNCACHEABLE, uncacheable_seconds
        else:
            result, seconds = ClaimResult.OURS, 0.0
        return Release(self.name, self.owner, result, seconds)

    def released(self) -> None:
        """The flight has no lease, or none any more."""
        self.owner = ""


class Flights:
    """The fetches in flight in this process; with `leases`, in others too. `clock` gives Unix seconds."""

    def __init__(self, leases: Leases | None = None, *, clock: Callable[[], float]) -> None:
        self._leases = leases
        self._owners = map(f"{secrets.token_hex(8)}:{{}}".format, itertools.count())
        self._clock = clock
        self._flights: dict[_Name, Flight] = {}
        self._uncacheable_until: OrderedDict[_Name, float] = OrderedDict()
        self._claiming: set[_Name] = set()
        self._tasks = TaskSet()

    def get(self, service: str, name: str) -> Flight | None:
        """The flight of this process, if there is one."""
        return self._flights.get((service, name))

    def is_uncacheable(self, service: str, name: str) -> bool:
        """Whether the response is remembered as uncacheable."""
        until = self._uncacheable_until.get((service, name))
        return until is not None and self._clock() < until

    def begin(self, service: str, name: str) -> Flight:
        """Begin a flight as its leader, where `get` has returned None."""
        flight = self._flights[service, name] = Flight(service, name, self._on_landed)
        return flight

    def may_claim(self, service: str, name: str) -> bool:
        """Whether a lookup should claim the fetch: not where a request of this process does so already or has a flight,
        nor where the response is known to be uncacheable.
        """
        is_free = self._leases is not None and (service, name) not in self._claiming
        return is_free and self.get(service, name) is None and not self.is_uncacheable(service, name)

    @contextlib.contextmanager
    def claimant(self, service: str, name: str) -> Iterator[str]:
        """A new owner, for the time of a lookup with a claim. The claim is for `lead`, or else for `give_up`."""
        self._claiming.add((service, name))
        try:
            yield next(self._owners)
        finally:
            self._claiming.discard((service, name))

    def give_up(self, service: str, name: str, claim: Claim | None) -> None:
        """A claim is of no use: the request waits for another one's fetch, or makes one for itself alone."""
        if claim is not None and claim.result is ClaimResult.OURS and self._leases is not None:
            release = Release(name, claim.owner, ClaimResult.OURS, 0)
            self._tasks.create(self._release(self._leases, service, release))

    async def lead(
        self, flight: Flight, look_up: Callable[[], Awaitable[LookupResult]], claim: Claim | None = None
    ) -> LookupResult | None:
        """Wait until no other worker fetches the same response, then lease the fetch. `claim` is the first one, if it
        was made with the caller's own lookup.

        Returns the last result of `look_up`: a Fresh one if another worker has stored the response. Any other result
        means that the fetch is ours; None that it is ours, and the caller's own lookup is still current.
        """
        if self._leases is None:
            return None
        try:
            return await self._lead(self._leases, flight, look_up, claim)
        except StoreUnavailable:
            flight.released()
            return None
        except BaseException:
            flight.land(FlightEnd.ABANDONED)
            raise

    async def _lead(
        self, leases: Leases, flight: Flight, look_up: Callable[[], Awaitable[LookupResult]], first: Claim | None
    ) -> LookupResult | None:
        owner, claimed = first or (next(self._owners), None)
        result, missed = None, False
        for pause in itertools.chain(LEASE_POLL_SECONDS, itertools.repeat(LEASE_POLL_SECONDS[-1])):
            # So that the lease ends with the flight, even if this is cancelled while it is claimed.
            flight.owner = owner
            if claimed is None:
                claimed = await leases.claim(flight.service, flight.name, owner, missed=missed)
            if claimed is ClaimResult.OURS:
                if flight.end.done():  # landed while the lease was claimed, which is of no use then
                    self.give_up(flight.service, flight.name, Claim(owner, claimed))
                else:
                    self._renew_later(leases, flight)
                return result
            flight.released()
            if claimed is ClaimResult.UNCACHEABLE:
                flight.land(FlightEnd.UNCACHEABLE, remember=True)
                return result
            if claimed is ClaimResult.THEIRS:  # for as long as the lease is renewed, and its term
                await asyncio.sleep(pause)
            # Only a lookup after STORED can have missed the response.
            missed, claimed = claimed is ClaimResult.STORED, None
            result = await look_up()
            if isinstance(result, Fresh) and not result.refresh:
                break
        return result

    async def close(self) -> None:
        """End all flights, and wait until their leases have been released."""
        for flight in list(self._flights.values()):
            flight.land(FlightEnd.ABANDONED)
        await self._tasks.wait()

    def _renew_later(self, leases: Leases, flight: Flight) -> None:
        """Renew the lease while the flight lasts: the backend may take longer than its term."""
        loop = asyncio.get_running_loop()
        flight.renewal = loop.call_later(RENEW_SECONDS, lambda: self._tasks.create(self._renew(leases, flight)))

    async def _renew(self, leases: Leases, flight: Flight) -> None:
        is_ours = True
        with contextlib.suppress(StoreUnavailable):
            is_ours = await leases.renew(flight.service, flight.name, flight.owner)
        if is_ours and not flight.end.done():
            self._renew_later(leases, flight)

    def _on_landed(self, flight: Flight, uncacheable_seconds: float) -> None:
        name, end = (flight.service, flight.name), flight.end.result()
        if flight.renewal:
            flight.renewal.cancel()
        if self._flights.get(name) is flight:
            del self._flights[name]
        if end is FlightEnd.STORED:
            self._uncacheable_until.pop(name, None)
        elif uncacheable_seconds:
            self._uncacheable_until[name] = self._clock() + uncacheable_seconds
            while len(self._uncacheable_until) > MAX_UNCACHEABLE:
                self._uncacheable_until.popitem(last=False)
        release = flight.release_for(end, uncacheable_seconds)
        if self._leases is not None and release is not None:
            self._tasks.create(self._release(self._leases, flight.service, release))

    async def _release(self, leases: Leases, service: str, release: Release) -> None:
        with contextlib.suppress(StoreUnavailable):  # then the lease expires
            await leases.release(service, *release)
