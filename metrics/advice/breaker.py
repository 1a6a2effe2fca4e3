"""Simulates a circuit breaker with other settings over recorded calls. Pure.

How many calls of each minute failed is known, but not their order: failures are spread evenly over the minute.
Successes change nothing in a closed circuit, and an open one makes no calls, so only failures and probes are simulated
one by one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import msgspec

from resilience.breaker import machine
from resilience.breaker.machine import Outcome, Permit, Snapshot, State
from resilience.breaker.policy import BreakerPolicy
from resilience.durations import MINUTE

HOLDER: Final = "simulation"


class Minute(msgspec.Struct, frozen=True):
    """Calls that began in the minute from `at` (Unix seconds). `refused` ones were not made: their outcomes are
    unknown.
    """

    at: int
    successes: int
    failures: int
    refused: int = 0


class SimulationResult(msgspec.Struct, frozen=True, kw_only=True):
    """`refused` calls were not made; `lost` of them would have succeeded. `failed` calls were made and failed."""

    opened: int
    open_seconds: float
    refused: int
    lost: int
    failed: int


class _Calls:
    """The calls of one minute, by index from 0 to `number - 1`. `failures` of them, evenly spaced, have failed."""

    __slots__ = ("at", "failures", "number")

    def __init__(self, at: int, number: int, failures: int) -> None:
        self.at, self.number, self.failures = at, number, failures

    def time(self, place: int) -> float:
        return self.at + (place + 0.5) * MINUTE / self.number

    def place_at(self, time: float) -> int:
        """The first call that is not before `time`."""
        place = min(self.number, max(0, int((time - self.at) * self.number / MINUTE - 0.5)))
        while place < self.number and self.time(place) < time:
            place += 1
        return place

    def failures_before(self, place: int) -> int:
        return place * self.failures // self.number if self.number else 0

    def has_failed(self, place: int) -> bool:
        return self.failures_before(place + 1) > self.failures_before(place)

    def next_failure(self, place: int) -> int:
        """The place of the first failure from `place` on; `number` if there is none."""
        before = self.failures_before(place)
        if before >= self.failures:
            return self.number
        return -(-(before + 1) * self.number // self.failures) - 1


def assumed(minutes: Sequence[Minute]) -> list[_Calls]:
    """All calls: refused ones are taken to have failed as often as the calls that were made then, or last."""
    share, calls = 1.0, []
    for minute in minutes:
        known = minute.successes + minute.failures
        if known:
            share = minute.failures / known
        failures = minute.failures + round(minute.refused * share)
        calls.append(_Calls(minute.at, known + minute.refused, failures))
    return calls


def simulate(minutes: Sequence[Minute], policy: BreakerPolicy) -> SimulationResult:
    """`minutes` are in order, without those that have no calls."""
    return _Simulation(assumed(minutes), policy).run()


class _Simulation:
    def __init__(self, calls: list[_Calls], policy: BreakerPolicy) -> None:
        self._calls = calls
        self._policy = policy
        self._snapshot = Snapshot()
        self._starts = [each.at for each in calls]
        self._numbers = [0, *accumulate(each.number for each in calls)]
        self._since = 0.0
        self._failures: list[float] = []
        self._opened = self._refused = self._lost = self._failed = 0
        self._open_seconds = 0.0

    def run(self) -> SimulationResult:
        for calls in self._calls:
            place = 0
            while place < calls.number:
                place = self._next(calls, place)
        return SimulationResult(
            opened=self._opened,
            open_seconds=round(self._open_seconds, 1),
            refused=self._refused,
            lost=self._lost,
            failed=self._failed,
        )

    def _next(self, calls: _Calls, place: int) -> int:
        """Simulate from the call at `place` on. Returns the index of the next call to simulate."""
        now = calls.time(place)
        self._snapshot = machine.advance(self._snapshot, now)
        if self._snapshot.state is State.OPEN:
            return self._refuse(calls, place)
        if self._snapshot.state is State.CLOSED:
            place = calls.next_failure(place)
            if place == calls.number:
                return place
        self._call(calls.time(place), has_failed=calls.has_failed(place))
        return place + 1

    def _refuse(self, calls: _Calls, place: int) -> int:
        end = calls.place_at(self._snapshot.until or 0.0)
        failures = calls.failures_before(end) - calls.failures_before(place)
        self._refused += end - place
        self._lost += end - place - failures
        return end

    def _call(self, now: float, *, has_failed: bool) -> None:
        before = self._snapshot.state
        self._failed += has_failed
        self._snapshot, admission = machine.admit(self._snapshot, self._policy, now, HOLDER)
        if not isinstance(admission, Permit):
            return
        outcome = Outcome.FAILURE if has_failed else Outcome.SUCCESS
        self._snapshot = machine.record(self._snapshot, self._policy, admission, outcome, now)
        if has_failed and before is State.CLOSED and self._is_rate_exceeded(now):
            self._snapshot = machine.trip(self._snapshot, self._policy, admission, "the failure rate", now)
        if self._snapshot.state is State.OPEN:
            self._opened += 1
            self._open_seconds += (self._snapshot.until or now) - now
        elif before is State.HALF_OPEN and self._snapshot.state is State.CLOSED:
            self._since, self._failures = now, []

    def _is_rate_exceeded(self, now: float) -> bool:
        rate = self._policy.failure_rate
        if rate is None:
            return False
        begin = max(now - self._policy.window, self._since)
        self._failures = [*(at for at in self._failures if at > begin), now]
        calls = self._calls_before(now) - self._calls_before(begin)
        return calls >= self._policy.minimum_calls and len(self._failures) >= rate * calls

    def _calls_before(self, time: float) -> float:
        index = bisect_right(self._starts, time) - 1
        if index < 0:
            return 0.0
        calls = self._calls[index]
        return self._numbers[index] + calls.number * min(1.0, (time - calls.at) / MINUTE)
