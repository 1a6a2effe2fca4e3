"""Virtual workers in processes, and their load."""

import asyncio
import random
import time
from collections import Counter
from typing import Any, Final

from benchmarks.scale.remote import Remote
from benchmarks.scale.worker import SERVICES, VirtualWorker

PAGES: Final = 20
"""Paths of a service whose responses are shared."""
EVENT_SHARE: Final = 0.002
ROUTINE: Final = (
    ("hit", 0.80),
    ("uncached", 0.15),
    ("miss", 0.049),
    ("write", 0.001),
)
"""Kinds of requests and their shares."""
DEALT: Final = 1_000
"""Of so many requests in a row, each kind has exactly its share: in a short load, the number of writes would vary."""
TICK_SECONDS: Final = 0.02
MAX_IN_FLIGHT: Final = 256
"""Requests of one process: with more, its own queue would look like a slow Redis."""


def shared_paths() -> list[str]:
    """The paths of all services whose responses are shared."""
    return [f"/api/v1/s{service}/pages/{page}" for service in range(1, SERVICES) for page in range(PAGES)]


class Fleet:
    """The workers of one process."""

    def __init__(self, url: str, count: int) -> None:
        self._workers = [VirtualWorker(url) for _ in range(count)]
        self._random = random.Random()  # noqa: S311 - it protects nothing
        self._kinds: list[str] = []
        self._events_owed = 0.0

    async def start(self) -> None:
        for worker in self._workers:
            await worker.start()

    async def warm(self) -> None:
        """Let each worker have all shared responses in memory."""
        for worker in self._workers:
            await asyncio.gather(*(worker.request("GET", path) for path in shared_paths()))

    async def idle(self, seconds: float) -> dict[str, Any]:
        self._reset()
        await asyncio.sleep(seconds)
        return self._report(Counter(), 0)

    async def load(self, rate: float, seconds: float) -> dict[str, Any]:
        """`rate` requests a second of each worker, as far as this process can: late ones are not made up for."""
        self._reset()
        statuses, tasks = Counter[int](), set[asyncio.Task[None]]()
        began = time.monotonic()
        owed = 0.0
        last = began
        while (now := time.monotonic()) - began < seconds:
            owed, last = min(owed + (now - last) * rate, rate * 5 * TICK_SECONDS), now
            number, owed = int(owed), owed - int(owed)
            for worker in self._random.sample(self._workers, len(self._workers)):
                for _ in range(min(number, MAX_IN_FLIGHT - len(tasks))):
                    task = asyncio.create_task(self._one(worker, statuses))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await asyncio.sleep(0)
            await asyncio.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - now)))
        if tasks:
            await asyncio.wait(tasks)
        return self._report(statuses, time.monotonic() - began)

    async def trip(self) -> float:
        """When the first worker's circuit opened, by the monotonic clock, which all processes share."""
        while not self.open_circuits():
            await self._workers[0].request("GET", "/api/v1/s0/failing")
        return time.monotonic()

    async def agreed(self) -> float:
        """When all workers know that the circuit is open."""
        while self.open_circuits() < len(self._workers):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.002)
        return time.monotonic()

    def open_circuits(self) -> int:
        found = [breaker for worker in self._workers for breaker in worker.breakers if breaker.name == "s0"]
        return sum(breaker.state() != "CLOSED" for breaker in found)

    async def limited(self, requests: int) -> int:
        """How many of so many requests a worker are granted under one limit of all."""
        statuses = Counter[int]()
        for _ in range(requests):
            found = [worker.request("GET", "/api/v1/s1/limited") for worker in self._workers]
            statuses.update(await asyncio.gather(*found))
        return statuses[200]

    async def close(self) -> None:
        for worker in self._workers:
            await worker.close()

    async def _one(self, worker: VirtualWorker, statuses: Counter[int]) -> None:
        kind, service = self._kind(), self._random.randrange(1, SERVICES)
        self._events_owed += EVENT_SHARE
        if self._events_owed >= 1:
            self._events_owed -= 1
            await worker.publish()
        page = self._random.randrange(PAGES)
        path = {
            "hit": f"/api/v1/s{service}/pages/{page}",
            "uncached": f"/api/v1/s{service}/uncached",
            "miss": f"/api/v1/s{service}/unique/f{self._random.getrandbits(64):016x}",
            "write": f"/api/v1/s{service}/pages/{page}",
        }[kind]
        statuses[await worker.request("PUT" if kind == "write" else "GET", path)] += 1

    def _kind(self) -> str:
        if not self._kinds:
            self._kinds = [kind for kind, share in ROUTINE for _ in range(round(share * DEALT))]
            self._random.shuffle(self._kinds)
        return self._kinds.pop()

    def _reset(self) -> None:
        for worker in self._workers:
            for counts in (worker.traffic.calls, worker.traffic.sent, worker.traffic.messages):
                counts.clear()

    def _report(self, statuses: Counter[int], seconds: float) -> dict[str, Any]:
        total = {"calls": Counter[str](), "sent": Counter[str](), "messages": Counter[str]()}
        for worker in self._workers:
            for name, counts in total.items():
                counts.update(getattr(worker.traffic, name))
        return {"statuses": statuses, "seconds": seconds, **total}


class Fleets:
    """`workers` virtual workers in `processes` processes."""

    def __init__(self, url: str, workers: int, processes: int) -> None:
        shares = [len(range(number, workers, processes)) for number in range(min(processes, workers))]
        self._fleets = [Remote(Fleet, url, share) for share in shares]

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """What each process returns. Raises RuntimeError for an exception in one."""
        for fleet in self._fleets:
            fleet.begin(method, *arguments)
        return [fleet.result() for fleet in self._fleets]

    def first(self, method: str, *arguments: Any) -> Any:
        """Of the first process alone."""
        return self._fleets[0].call(method, *arguments)

    def close(self) -> None:
        for fleet in self._fleets:
            fleet.close()
