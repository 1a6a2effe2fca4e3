"""One fetch at a time for one answer: in this process by a future, among processes by a lease."""

import asyncio
import contextlib
import itertools
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from resilience.cache.leases import ECHO_SECONDS, RENEW_SECONDS, ClaimResult, Leases
from resilience.cache.messages import Fresh, LookupResult
from resilience.outage import StoreUnavailable
from resilience.task_set import TaskSet

UNCACHEABLE_SECONDS: Final = 5.0
"""How long it is remembered that an answer could not be kept: who comes meanwhile does not wait for another's."""
MAX_UNCACHEABLE: Final = 4_096
"""Answers this is remembered of."""
BODY_SECONDS: Final = 2.0
"""How long others wait for a body that has begun: its first reader may be slow, and is not to hold them up."""
PAUSES: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Seconds between two looks at what another worker fetches; the last goes on."""

_Name = tuple[str, str]


class FlightEnd(Enum):
    """How a flight ended for those who waited."""

    STORED = auto()
    UNCACHEABLE = auto()
    """Nothing was kept, nor will be: each goes for itself."""
    ABANDONED = auto()
    """The leader gave up: another has to."""
    FAILED = auto()
    """The backend could not be asked: `error` says why, for all."""


_SAID: Final = {FlightEnd.STORED: ClaimResult.STORED, FlightEnd.UNCACHEABLE: ClaimResult.UNCACHEABLE}


@dataclass(eq=False, slots=True)
class Flight:
    """One fetch, of its leader. `land` must be called, whatever happens; only the first call counts."""

    service: str
    name: str
    landed: Callable[["Flight", float], None]
    owner: str = ""
    error: Exception | None = None
    renewal: asyncio.TimerHandle | None = None
    end: "asyncio.Future[FlightEnd]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def land(self, end: FlightEnd, *, remember: bool = False, error: Exception | None = None) -> None:
        """`remember`: what could not be kept now cannot be kept soon."""
        if not self.end.done():
            self.error = error
            self.end.set_result(end)
            self.landed(self, UNCACHEABLE_SECONDS if remember else 0.0)

    def body_started(self) -> None:
        """From here on the fetch may be as slow as the client that reads it."""
        self.end.get_loop().call_later(BODY_SECONDS, self.land, FlightEnd.ABANDONED)

    async def wait(self) -> FlightEnd:
        """Waits. One who stops waiting stops nobody else."""
        return await asyncio.shield(self.end)


class Flights:
    """All fetches that others may wait for. Without `leases`, this process is alone. `clock` is Unix seconds."""

    def __init__(self, leases: Leases | None = None, *, clock: Callable[[], float]) -> None:
        self._leases = leases
        self._owners = map(f"{secrets.token_hex(8)}:{{}}".format, itertools.count())
        self._clock = clock
        self._flights: dict[_Name, Flight] = {}
        self._passing: OrderedDict[_Name, float] = OrderedDict()
        self._tasks = TaskSet()

    def get(self, service: str, name: str) -> Flight | None:
        return self._flights.get((service, name))

    def is_uncacheable(self, service: str, name: str) -> bool:
        """Is it known that this answer is not kept?"""
        until = self._passing.get((service, name))
        return until is not None and self._clock() < until

    def begin(self, service: str, name: str) -> Flight:
        """Lead: nobody here does, `begun` has said so."""
        flight = self._flights[service, name] = Flight(service, name, self._landed)
        return flight

    async def lead(self, flight: Flight, look: Callable[[], Awaitable[LookupResult]]) -> LookupResult | None:
        """Wait until no other worker fetches the same. What one of them has stored meanwhile, or, when it is ours to
        fetch, what is there now: None if nothing has changed since the caller looked.
        """
        if self._leases is None:
            return None
        try:
            return await self._lead(self._leases, flight, look)
        except StoreUnavailable:
            return None
        except BaseException:
            flight.land(FlightEnd.ABANDONED)
            raise

    async def _lead(
        self, leases: Leases, flight: Flight, look: Callable[[], Awaitable[LookupResult]]
    ) -> LookupResult | None:
        owner, found, claim = next(self._owners), None, ClaimResult.THEIRS
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            # A look from before it was said that it is stored has told nothing.
            claim = await leases.claim(flight.service, flight.name, owner, looked=claim is ClaimResult.STORED)
            if claim is ClaimResult.OURS:
                flight.owner = owner
                self._renew_later(leases, flight)
                return found
            if claim is ClaimResult.UNCACHEABLE:
                flight.land(FlightEnd.UNCACHEABLE, remember=True)
                return found
            if claim is ClaimResult.THEIRS:  # for as long as it is renewed, and the lease's length after
                await asyncio.sleep(pause)
            found = await look()
            if isinstance(found, Fresh) and not found.refresh:
                break
        return found

    async def close(self) -> None:
        """Nobody waits for what a closing process had begun."""
        for flight in list(self._flights.values()):
            flight.land(FlightEnd.ABANDONED)
        await self._tasks.wait()

    def _renew_later(self, leases: Leases, flight: Flight) -> None:
        """Our backend may take longer than a lease lasts, and the others are to wait for as long as we live."""
        loop = asyncio.get_running_loop()
        flight.renewal = loop.call_later(RENEW_SECONDS, lambda: self._tasks.create(self._renewed(leases, flight)))

    async def _renewed(self, leases: Leases, flight: Flight) -> None:
        ours = True
        with contextlib.suppress(StoreUnavailable):
            ours = await leases.renew(flight.service, flight.name, flight.owner)
        if ours and not flight.end.done():
            self._renew_later(leases, flight)

    def _landed(self, flight: Flight, remember: float) -> None:
        name, end = (flight.service, flight.name), flight.end.result()
        if flight.renewal:
            flight.renewal.cancel()
        if self._flights.get(name) is flight:
            del self._flights[name]
        if end is FlightEnd.STORED:
            self._passing.pop(name, None)
        elif remember:
            self._passing[name] = self._clock() + remember
            while len(self._passing) > MAX_UNCACHEABLE:
                self._passing.popitem(last=False)
        if self._leases is not None and flight.owner:
            said = _SAID.get(end, ClaimResult.OURS) if end is FlightEnd.STORED or remember else ClaimResult.OURS
            seconds = ECHO_SECONDS if end is FlightEnd.STORED else remember
            self._tasks.create(self._tell(self._leases, flight, said, seconds))

    async def _tell(self, leases: Leases, flight: Flight, said: ClaimResult, seconds: float) -> None:
        with contextlib.suppress(StoreUnavailable):  # then the lease ends by itself
            await leases.release(flight.service, flight.name, flight.owner, said, seconds)
