"""Circuit breakers as one worker holds them: local mirrors of the snapshots that all workers share.

Admission by a closed or open circuit, and a success while it is closed, need the mirror alone. A failure, a probe and
an override compare and set the shared snapshot, in tasks of their own: cancelling a caller must not lose its report.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from resilience.breaker import machine
from resilience.breaker.machine import Admission, Outcome, Permit, ProbeLease, Snapshot, State
from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.rate import CallRate
from resilience.breaker.store import FailOpen, Store
from resilience.task_set import TaskSet

Clock = Callable[[], float]
OnChange = Callable[[str, State, State, str], None]
T = TypeVar("T")


class Breaker:
    """One service's circuit in this worker. Created by `Breakers.of`."""

    def __init__(self, name: str, policy: BreakerPolicy, breakers: "Breakers") -> None:
        self.name = name
        self.policy = policy
        self._breakers = breakers
        self._clock = breakers.clock
        self._snapshot = Snapshot()
        self._closed_permit: Permit | None = Permit(0)
        self._rate = CallRate()
        self._lock = asyncio.Lock()
        self.reads = 0
        """How many times the shared snapshot has begun to be read, alone or by a swap."""

    @property
    def snapshot(self) -> Snapshot:
        """The mirrored snapshot, advanced to the present."""
        return machine.advance(self._snapshot, self._clock())

    def state(self, now: float | None = None) -> State:
        if self._closed_permit is not None:  # time does not change this state
            return self._snapshot.state
        return machine.advance(self._snapshot, self._clock() if now is None else now).state

    def try_admit(self) -> Admission | None:
        """Admit or refuse a call without waiting. None: the call may be a probe, so `admit` must be awaited."""
        if self._closed_permit is not None:
            return self._closed_permit
        after, admission = machine.admit(self._snapshot, self.policy, self._clock(), "")
        if after.state is not State.HALF_OPEN or self._holds_every_lease(after):
            return admission
        return None

    async def admit(self) -> Admission:
        """Admit or refuse a call, leasing a probe's permit from the store. A cancelled caller keeps no permit."""
        leasing = self._breakers.tasks.create(self._lease())
        try:
            return await asyncio.shield(leasing)
        except asyncio.CancelledError:
            self._breakers.tasks.create(self._return_permit(leasing))
            raise

    def report(self, permit: Permit, outcome: Outcome) -> asyncio.Task[None] | None:
        """Count a permitted call's outcome. Returns the task that shares it, or None if it need not be shared."""
        if permit.holder is not None:
            return self._breakers.tasks.create(self._share(permit, outcome))
        if outcome is Outcome.CANCELLED:
            return None
        failed = outcome is Outcome.FAILURE
        has_rate = self.policy.failure_rate is not None and self._is_current(permit)
        if has_rate and self._rate.count(failed, self.policy, self._clock()):
            return self._breakers.tasks.create(self._trip(permit))
        return self._breakers.tasks.create(self._share(permit, outcome)) if failed else None

    async def report_and_wait(self, permit: Permit, outcome: Outcome) -> None:
        """Like `report`, but wait until the outcome has been shared."""
        sharing = self.report(permit, outcome)
        if sharing is not None:
            await asyncio.shield(sharing)

    async def override(self, state: State, until: float | None = None, reason: str = "") -> None:
        """Force the circuit to CLOSED (reset), FORCED_OPEN or DISABLED. Raises IllegalTransition for other states."""

        def rule(snapshot: Snapshot, now: float) -> tuple[Snapshot, None]:
            return machine.override(snapshot, state, now, until, reason), None

        await asyncio.shield(self._breakers.tasks.create(self._update(rule)))

    async def advance(self) -> None:
        """Share a transition that is due by time, so that it is visible without traffic too, and an open time that the
        configuration has made shorter.
        """
        due, _ = self._due(self._snapshot, self._clock())
        if due.generation != self._snapshot.generation or due.until != self._snapshot.until:
            await self._update(self._due)

    def _due(self, snapshot: Snapshot, now: float) -> tuple[Snapshot, None]:
        return machine.shorten(machine.advance(snapshot, now), self.policy, now), None

    def apply_refreshed(self, snapshot: Snapshot, reads: int) -> None:
        """Replace the mirror by a snapshot loaded since `reads`, unless it has been read by other means meanwhile."""
        if self.reads == reads or snapshot.version > self._snapshot.version:
            self.apply_snapshot(snapshot)

    def apply_snapshot(self, snapshot: Snapshot) -> None:
        """Replace the mirror, unless it is of a later version."""
        if snapshot.version < self._snapshot.version:
            return
        if snapshot.version != self._snapshot.version:
            self._rate.clear()
        self._snapshot = snapshot
        admits_all = snapshot.until is None and snapshot.state in (State.CLOSED, State.DISABLED)
        self._closed_permit = Permit(snapshot.generation) if admits_all else None

    def _is_current(self, permit: Permit) -> bool:
        return self._snapshot.state is State.CLOSED and permit.generation == self._snapshot.generation

    def _holds_every_lease(self, snapshot: Snapshot) -> bool:
        """Whether all permits are leased to calls of this worker, whose end the mirror learns of first."""
        leases = snapshot.leases
        return len(leases) >= self.policy.half_open_permits and all(self._breakers.holds(lease) for lease in leases)

    def _is_full(self) -> bool:
        return len(self.snapshot.leases) >= self.policy.half_open_permits

    async def _lease(self) -> Admission:
        """Lease a permit. A mirror that shows all permits leased may be out of date, since the end of another worker's
        probe is not a transition and is not published: it is read again, once for all calls that are waiting.
        """
        holder, reads = self._breakers.next_holder(), self.reads
        async with self._lock:
            admission = self.try_admit()
            if admission is not None:
                return admission
            if self.reads == reads and self._is_full():
                await self._read()
            return await self._compare_and_set(lambda snapshot, now: machine.admit(snapshot, self.policy, now, holder))

    async def _return_permit(self, leasing: asyncio.Task[Admission]) -> None:
        admission = await leasing
        if isinstance(admission, Permit):
            await self.report_and_wait(admission, Outcome.CANCELLED)

    async def _share(self, permit: Permit, outcome: Outcome) -> None:
        def rule(snapshot: Snapshot, now: float) -> tuple[Snapshot, None]:
            return machine.record(snapshot, self.policy, permit, outcome, now), None

        await self._update(rule)

    async def _trip(self, permit: Permit) -> None:
        reason = f"{self._rate.failures} of {self._rate.calls} calls failed"

        def rule(snapshot: Snapshot, now: float) -> tuple[Snapshot, None]:
            return machine.trip(snapshot, self.policy, permit, reason, now), None

        await self._update(rule)

    async def _update(self, rule: Callable[[Snapshot, float], tuple[Snapshot, None]]) -> None:
        async with self._lock:
            await self._compare_and_set(rule)

    async def _read(self) -> None:
        self.reads += 1
        (snapshot,) = await self._breakers.store.load([self.name])
        self.apply_snapshot(snapshot)

    async def _compare_and_set(self, rule: Callable[[Snapshot, float], tuple[Snapshot, T]]) -> T:
        """Apply `rule` to the shared snapshot; again whenever another worker has changed it meanwhile."""
        while True:
            before = self._snapshot
            after, result = rule(before, self._clock())
            if after == before:
                return result
            self.reads += 1
            stored = await self._breakers.store.swap(self.name, before, after)
            self.apply_snapshot(after if stored is None else stored)
            if stored is None:
                self._breakers.changed(self.name, before, after)
                return result


class Breakers:
    """This worker's breakers by service. `on_change` is called once in the cluster, by the worker that made the change.

    `clock` gives Unix seconds; `holder` identifies this worker's probes.
    """

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
        self.tasks = TaskSet()
        self._on_change = on_change
        self._holder = holder or secrets.token_hex(8)
        self._probes = 0
        self._breakers: dict[str, Breaker] = {}
        self.store.listen(self._on_snapshot)

    @property
    def degraded(self) -> bool:
        """Whether the shared store is unavailable, so that this worker decides on its own."""
        return self.store.degraded

    def of(self, name: str, policy: BreakerPolicy) -> Breaker:
        """The breaker of a service, which follows `policy` from now on."""
        breaker = self._breakers.get(name)
        if breaker is None:
            breaker = self._breakers[name] = Breaker(name, policy, self)
        breaker.policy = policy
        return breaker

    def __iter__(self) -> Iterator[Breaker]:
        return iter(list(self._breakers.values()))

    async def refresh(self) -> None:
        """Load all snapshots and share transitions that are due. Called every second, since messages may be lost."""
        breakers = [(breaker, breaker.reads) for breaker in self]
        snapshots = await self.store.load([breaker.name for breaker, _ in breakers])
        for (breaker, reads), snapshot in zip(breakers, snapshots, strict=True):
            breaker.apply_refreshed(snapshot, reads)
            await breaker.advance()

    async def close(self) -> None:
        """Wait until all outcomes have been shared."""
        await self.tasks.wait()

    def holds(self, lease: ProbeLease) -> bool:
        """Whether it is the lease of a call of this worker."""
        return lease.holder.rpartition("-")[0] == self._holder

    def next_holder(self) -> str:
        self._probes += 1
        return f"{self._holder}-{self._probes}"

    def changed(self, name: str, before: Snapshot, after: Snapshot) -> None:
        if self._on_change is not None and before.state is not after.state:
            self._on_change(name, before.state, after.state, after.reason)

    def _on_snapshot(self, name: str, snapshot: Snapshot) -> None:
        breaker = self._breakers.get(name)
        if breaker is not None:
            breaker.apply_snapshot(snapshot)
