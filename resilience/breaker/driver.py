"""One worker's circuits: mirrors of the shared snapshots, so that CLOSED and successful costs nothing.

OPEN is refused on the mirror too. Only a failure, a probe or an order is a compare-and-set of the shared snapshot;
those run as tasks of their own, since a caller that is cancelled must not take its report along.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from resilience.breaker import machine
from resilience.breaker.machine import Outcome, Permit, Refusal, Snapshot, State
from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.rate import CallRate
from resilience.breaker.store import FailOpen, Store
from resilience.task_set import TaskSet

Clock = Callable[[], float]
OnChange = Callable[[str, State, State, str], None]
Verdict = TypeVar("Verdict")
Answer = TypeVar("Answer")


class CircuitRefused(Exception):
    """The circuit lets no call through now; `retry_after` seconds until it is worth asking again."""

    def __init__(self, name: str, refusal: Refusal) -> None:
        super().__init__(f"the circuit of {name} is {refusal.state}")
        self.name = name
        self.state = refusal.state
        self.retry_after = refusal.retry_after


class Breaker:
    """One service's circuit, as this worker sees it. Made by `Breakers.of`."""

    def __init__(self, name: str, policy: BreakerPolicy, circuits: "Breakers") -> None:
        self.name = name
        self.policy = policy
        self._circuits = circuits
        self._clock = circuits.clock
        self._snapshot = Snapshot()
        self._closed_permit: Permit | None = Permit(0)
        self._rate = CallRate()
        self._lock = asyncio.Lock()

    @property
    def snapshot(self) -> Snapshot:
        """What this worker knows, after what time alone has done."""
        return machine.advance(self._snapshot, self._clock())

    def state(self, now: float | None = None) -> State:
        if self._closed_permit is not None:  # time alone moves nothing then
            return self._snapshot.state
        return machine.advance(self._snapshot, self._clock() if now is None else now).state

    def attempt(self) -> "Attempt":
        return Attempt(self)

    def try_admit(self) -> Permit | Refusal | None:
        """The verdict, where the mirror can give it; None where `admit` must be awaited: a probe's permit is shared."""
        if self._closed_permit is not None:
            return self._closed_permit
        now = self._clock()
        after, verdict = machine.admit(self._snapshot, self.policy, now, "")
        # All permits given out, by a mirror at most one refresh old: a flood must not queue at the store for them.
        probing = isinstance(verdict, Permit) and after.state is State.HALF_OPEN
        return None if probing else verdict

    async def admit(self) -> Permit | Refusal:
        """The verdict, asking the store for a probe's permit. A caller cancelled meanwhile holds none."""
        leasing = self._circuits.tasks.create(self._lease())
        try:
            return await asyncio.shield(leasing)
        except asyncio.CancelledError:
            self._circuits.tasks.create(self._return_permit(leasing))
            raise

    async def record(self, permit: Permit, outcome: Outcome) -> None:
        """Count how a permitted call ended, and see it shared if others must know."""
        task = self.report(permit, outcome)
        if task is not None:
            await asyncio.shield(task)

    def report(self, permit: Permit, outcome: Outcome) -> asyncio.Task[None] | None:
        """As `record`, without waiting: None when nothing has to be shared, else the task that shares it."""
        if permit.holder is not None:
            return self._circuits.tasks.create(self._share(permit, outcome))
        if outcome is Outcome.CANCELLED:
            return None
        failed = outcome is Outcome.FAILURE
        rated = self.policy.failure_rate is not None and self._counts(permit)
        if rated and self._rate.count(failed, self.policy, self._clock()):
            return self._circuits.tasks.create(self._trip(permit))
        return self._circuits.tasks.create(self._share(permit, outcome)) if failed else None

    async def override(self, state: State, until: float | None = None, reason: str = "") -> None:
        """An operator's move to CLOSED, FORCED_OPEN or DISABLED. Raises IllegalTransition for any other."""

        def rule(snapshot: Snapshot, now: float) -> tuple[Snapshot, None]:
            return machine.override(snapshot, state, now, until, reason), None

        await asyncio.shield(self._circuits.tasks.create(self._locked(rule)))

    async def advance(self) -> None:
        """Share what time alone has done, so that the change is seen without traffic too."""
        if machine.advance(self._snapshot, self._clock()).generation != self._snapshot.generation:
            await self._locked(lambda snapshot, now: (machine.advance(snapshot, now), None))

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Take over what the cluster knows, unless this worker knows better."""
        if snapshot.generation < self._snapshot.generation:
            return
        if snapshot.generation != self._snapshot.generation:
            self._rate.clear()
        self._snapshot = snapshot
        passing = snapshot.until is None and snapshot.state in (State.CLOSED, State.DISABLED)
        self._closed_permit = Permit(snapshot.generation) if passing else None

    def _counts(self, permit: Permit) -> bool:
        return self._snapshot.state is State.CLOSED and permit.generation == self._snapshot.generation

    async def _lease(self) -> Permit | Refusal:
        holder = self._circuits.next_holder()
        async with self._lock:
            verdict = self.try_admit()
            if verdict is not None:
                return verdict
            return await self._change(lambda snapshot, now: machine.admit(snapshot, self.policy, now, holder))

    async def _return_permit(self, leasing: asyncio.Task[Permit | Refusal]) -> None:
        verdict = await leasing
        if isinstance(verdict, Permit):
            await self.record(verdict, Outcome.CANCELLED)

    async def _share(self, permit: Permit, outcome: Outcome) -> None:
        def rule(snapshot: Snapshot, now: float) -> tuple[Snapshot, None]:
            return machine.record(snapshot, self.policy, permit, outcome, now), None

        await self._locked(rule)

    async def _trip(self, permit: Permit) -> None:
        reason = f"{self._rate.failures} of {self._rate.calls} calls failed"

        def rule(snapshot: Snapshot, now: float) -> tuple[Snapshot, None]:
            return machine.trip(snapshot, self.policy, permit, reason, now), None

        await self._locked(rule)

    async def _locked(self, rule: Callable[[Snapshot, float], tuple[Snapshot, None]]) -> None:
        async with self._lock:
            await self._change(rule)

    async def _change(self, rule: Callable[[Snapshot, float], tuple[Snapshot, Verdict]]) -> Verdict:
        """Apply `rule` to the shared snapshot, as often as others come first. One of them wins each round."""
        while True:
            before = self._snapshot
            after, verdict = rule(before, self._clock())
            if after == before:
                return verdict
            instead = await self._circuits.store.swap(self.name, before, after)
            self.apply_snapshot(after if instead is None else instead)
            if instead is None:
                self._circuits.changed(self.name, before, after)
                return verdict


class Attempt:
    """One call under the circuit. What is neither `succeeded` nor `failed` was cancelled, and says nothing.

    Raises CircuitRefused on entry.
    """

    __slots__ = ("_breaker", "_outcome", "_permit")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._outcome = Outcome.CANCELLED

    def succeeded(self, duration: float = 0.0) -> None:
        self._outcome = machine.judge(self._breaker.policy, duration)

    def failed(self) -> None:
        self._outcome = Outcome.FAILURE

    async def __aenter__(self) -> Self:
        verdict = self._breaker.try_admit() or await self._breaker.admit()
        if isinstance(verdict, Refusal):
            raise CircuitRefused(self._breaker.name, verdict)
        self._permit = verdict
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._breaker.record(self._permit, self._outcome)


class Breakers:
    """This worker's circuits by name. `on_change` is called once in the cluster, by the worker that made the change."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock = time.time,
        on_change: OnChange | None = None,
        holder: str | None = None,
    ) -> None:
        self.store = FailOpen(store)
        self.clock = clock
        self._on_change = on_change
        self._holder = holder or secrets.token_hex(8)
        self._probes = 0
        self._breakers: dict[str, Breaker] = {}
        self.tasks = TaskSet()
        self.store.listen(self._heard)

    @property
    def degraded(self) -> bool:
        """The shared store is away: this worker decides alone."""
        return self.store.degraded

    def of(self, name: str, policy: BreakerPolicy) -> Breaker:
        breaker = self._breakers.get(name)
        if breaker is None:
            breaker = self._breakers[name] = Breaker(name, policy, self)
        breaker.policy = policy
        return breaker

    def __iter__(self) -> Iterator[Breaker]:
        return iter(list(self._breakers.values()))

    async def refresh(self) -> None:
        """Read every circuit, and share what time has done. At start, and every second: a message may be missed."""
        breakers = list(self)
        snapshots = await self.store.load([breaker.name for breaker in breakers])
        for breaker, snapshot in zip(breakers, snapshots, strict=True):
            breaker.apply_snapshot(snapshot)
            await breaker.advance()

    async def close(self) -> None:
        """Wait for what is still to be reported."""
        await self.tasks.wait()

    def next_holder(self) -> str:
        self._probes += 1
        return f"{self._holder}-{self._probes}"

    def changed(self, name: str, before: Snapshot, after: Snapshot) -> None:
        if self._on_change is not None and before.state is not after.state:
            self._on_change(name, before.state, after.state, after.reason)

    def _heard(self, name: str, snapshot: Snapshot) -> None:
        breaker = self._breakers.get(name)
        if breaker is not None:
            breaker.apply_snapshot(snapshot)
