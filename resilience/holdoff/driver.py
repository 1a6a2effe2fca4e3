"""Hold-offs as one worker holds them: a mirror of what all workers share.

A call while no hold-off of its service exists needs the mirror alone. A limited response, a probe and an operator
compare and set the shared hold-off, in tasks of their own: cancelling a caller must not lose its report.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from resilience.holdoff import rules
from resilience.holdoff.policy import HoldOffPolicy
from resilience.holdoff.rules import HoldOff, Swap
from resilience.holdoff.store import FailOpen, Store
from resilience.partition import Partition
from resilience.task_set import TaskSet

Clock = Callable[[], float]
OnChange = Callable[[Partition, HoldOff | None], None]
HoldOffChange = tuple[Partition, HoldOff | None]
Rule = Callable[[HoldOff | None, float], HoldOff | None]

MAX_PER_SERVICE: Final = 1_000
"""Hold-offs of one service. Beyond it, the one that ends first gives way."""


class Held(Exception):
    """No call may be made now; `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class Probe:
    """The one call after a hold-off. Exactly one of the methods must be called when it has ended."""

    __slots__ = ("_hold_offs", "_holder", "_partition")

    def __init__(self, hold_offs: "HoldOffs", partition: Partition, holder: str) -> None:
        self._hold_offs = hold_offs
        self._partition = partition
        self._holder = holder

    async def accepted(self) -> None:
        """The backend did not limit it: calls may be made again."""
        await self._hold_offs.lift(self._partition, self._holder)

    def failed(self) -> None:
        """It showed nothing: the next call may be the probe."""
        self._hold_offs.release(self._partition, self._holder)


class HoldOffs:
    """This worker's mirror, by service and partition. `on_change` is called once in the cluster when a hold-off begins,
    begins again or is lifted, by the worker that made the change. `clock` gives Unix seconds.
    """

    def __init__(self, store: Store, *, clock: Clock = time.time, on_change: OnChange | None = None) -> None:
        self.store = FailOpen(store)
        self.clock = clock
        self._on_change = on_change
        self._by_service: dict[str, dict[Partition, HoldOff]] = {}
        self._worker = secrets.token_hex(8)
        self._probes = 0
        self._tasks = TaskSet()
        self._listeners: dict[int, list[HoldOffChange]] = {}
        self.store.listen(self._on_message)

    def of(self, service: str) -> Mapping[Partition, HoldOff]:
        """The hold-offs of a service: the same mapping each time, which is empty while there are none."""
        return self._by_service.setdefault(service, {})

    def retry_after(self, call: Partition) -> float | None:
        """Seconds until a call may be made. None: it may be made now, or be the probe."""
        now, found = self.clock(), self.of(call.service)
        waits = [rules.retry_after(found[each], now) for each in call.containing() if each in found]
        return max((wait for wait in waits if wait is not None), default=None)

    async def enter(self, call: Partition, seconds: float) -> list[Probe]:
        """Take the probe of each hold-off that has ended and that the call is in. Raises Held.

        `seconds` is how long the call may take. A cancelled caller keeps no probe.
        """
        entering = self._tasks.create(self._enter(call, seconds))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            self._tasks.create(_give_back(entering))
            raise

    async def limited(self, partition: Partition, policy: HoldOffPolicy, wait: float | None) -> HoldOff | None:
        """Begin or extend a hold-off after a limited response; `wait` is what it demands, in seconds. Returns it when
        the cluster knows.
        """
        spread = random.random()  # noqa: S311 - spreads probes, protects nothing

        def rule(current: HoldOff | None, now: float) -> HoldOff:
            return rules.limited(current, policy, wait, now, spread)

        return await asyncio.shield(self._tasks.create(self._update(partition, rule)))

    async def lift(self, partition: Partition, holder: str | None = None) -> bool:
        """End a hold-off: by an operator, or by its probe `holder`. Returns whether there was one."""
        existed = partition in self.of(partition.service)

        def rule(current: HoldOff | None, _now: float) -> HoldOff | None:
            is_others = holder is not None and current is not None and current.holder != holder
            return current if is_others else None

        await asyncio.shield(self._tasks.create(self._update(partition, rule)))
        return existed

    async def lift_all(self, service: str) -> int:
        """End all hold-offs of a service, and return their number."""
        return sum([await self.lift(partition) for partition in list(self.of(service))])

    def release(self, partition: Partition, holder: str) -> None:
        def rule(current: HoldOff | None, _now: float) -> HoldOff | None:
            return None if current is None else rules.released(current, holder)

        self._tasks.create(self._update(partition, rule))

    def all(self) -> dict[Partition, HoldOff]:
        """Those that refuse calls now. May be called in any thread."""
        now = self.clock()
        return {
            partition: item
            for found in list(self._by_service.values())
            for partition, item in list(found.items())
            if rules.retry_after(item, now) is not None
        }

    async def refresh(self) -> None:
        """Load what is shared, if it has changed, and drop what has lapsed. Called every second, since messages may be
        lost.
        """
        with self._listening() as received:
            loaded = await self.store.load()
        if loaded is not None:
            self._replace(loaded)
            for change in received:
                self._apply(*change)
        now = self.clock()
        lapsed = [each for found in self._by_service.values() for each, item in found.items() if item.has_lapsed(now)]
        for partition in lapsed:
            await self._update(partition, lambda item, now: None if item is None or item.has_lapsed(now) else item)

    async def close(self) -> None:
        """Wait until all reports have been shared."""
        await self._tasks.wait()

    async def _enter(self, call: Partition, seconds: float) -> list[Probe]:
        probes: list[Probe] = []
        try:
            for partition in call.containing():
                if partition in self.of(call.service):
                    probe = await self._lease(partition, seconds)
                    probes += [] if probe is None else [probe]
        except Held:
            for probe in probes:
                probe.failed()
            raise
        return probes

    async def _lease(self, partition: Partition, seconds: float) -> Probe | None:
        """The hold-off's probe; None if it has been lifted meanwhile. Raises Held."""
        self._probes += 1
        holder = f"{self._worker}-{self._probes}"
        held = 0.0

        def rule(current: HoldOff | None, now: float) -> HoldOff | None:
            nonlocal held
            wait = None if current is None else rules.retry_after(current, now)
            held = wait or 0.0
            return current if current is None or wait is not None else rules.leased(current, holder, seconds, now)

        after = await self._update(partition, rule)
        if held:
            raise Held(held)
        return None if after is None else Probe(self, partition, holder)

    async def _update(self, partition: Partition, rule: Rule) -> HoldOff | None:
        """Apply `rule` to the shared hold-off; again whenever another worker has changed it meanwhile."""
        before = self.of(partition.service).get(partition)
        while True:
            after = rule(before, self.clock())
            if after == before:
                return after
            made, stored = await self._swap(partition, before, after)
            if made:
                self._notify(partition, before, after)
                return after
            before = stored

    async def _swap(self, partition: Partition, before: HoldOff | None, after: HoldOff | None) -> Swap:
        """Swap, and apply what is stored then, unless a message has brought it already: then this worker has that or a
        later one.
        """
        with self._listening() as received:
            swap = await self.store.swap(partition, before, after)
        if (partition, swap.stored) not in received:
            self._apply(partition, swap.stored)
        return swap

    @contextmanager
    def _listening(self) -> Iterator[list[HoldOffChange]]:
        """The changes that messages bring during a call to the store. They come over a connection of their own, so a
        reply may be older than a message received before it.
        """
        received: list[HoldOffChange] = []
        self._listeners[id(received)] = received
        try:
            yield received
        finally:
            del self._listeners[id(received)]

    def _on_message(self, partition: Partition, item: HoldOff | None) -> None:
        for received in self._listeners.values():
            received.append((partition, item))
        self._apply(partition, item)

    def _notify(self, partition: Partition, before: HoldOff | None, after: HoldOff | None) -> None:
        is_lease = before is not None and after is not None and before.until == after.until
        if self._on_change is None or is_lease:
            return
        if before is None or after is None or not before.is_held(self.clock()):
            self._on_change(partition, after)

    def _replace(self, loaded: Mapping[Partition, HoldOff]) -> None:
        """Make these the mirror: of each service those that end last."""
        for found in self._by_service.values():
            found.clear()
        for partition, item in sorted(loaded.items(), key=lambda pair: -pair[1].until):
            found = self._by_service.setdefault(partition.service, {})
            if len(found) < MAX_PER_SERVICE:
                found[partition] = item

    def _apply(self, partition: Partition, item: HoldOff | None) -> None:
        found = self._by_service.setdefault(partition.service, {})
        if item is None:
            found.pop(partition, None)
            return
        if partition not in found and len(found) >= MAX_PER_SERVICE:
            found.pop(min(found, key=lambda each: found[each].until))
        found[partition] = item


async def _give_back(entering: "asyncio.Task[list[Probe]]") -> None:
    try:
        probes = await entering
    except Held:
        return
    for probe in probes:
        probe.failed()
