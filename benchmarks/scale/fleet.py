"""Virtual workers in processes, and what they are told to do."""

import asyncio
import random
import time
from collections import Counter
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final

import uvloop

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
TICK_SECONDS: Final = 0.02
MAX_IN_FLIGHT: Final = 256
"""Requests of one process: with more, its own queue would look like a slow Redis."""


class Fleet:
    """The workers of one process."""

    def __init__(self, url: str, count: int) -> None:
        self._workers = [VirtualWorker(url) for _ in range(count)]
        self._random = random.Random()  # noqa: S311 - it protects nothing

    async def start(self) -> None:
        for worker in self._workers:
            await worker.start()

    async def warm(self) -> None:
        """Let each worker have all shared responses in memory."""
        for worker in self._workers:
            pages = [f"/api/v1/s{number}/pages/{page}" for number in range(1, SERVICES) for page in range(PAGES)]
            await asyncio.gather(*(worker.request("GET", page) for page in pages))

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
        choice, service = self._random.random(), self._random.randrange(1, SERVICES)
        if choice < EVENT_SHARE:
            await worker.publish()
        kind = self._kind()
        page = self._random.randrange(PAGES)
        path = {
            "hit": f"/api/v1/s{service}/pages/{page}",
            "uncached": f"/api/v1/s{service}/uncached",
            "miss": f"/api/v1/s{service}/unique/{self._random.random()}",
            "write": f"/api/v1/s{service}/pages/{page}",
        }[kind]
        statuses[await worker.request("PUT" if kind == "write" else "GET", path)] += 1

    def _kind(self) -> str:
        left = self._random.random()
        for kind, share in ROUTINE:
            left -= share
            if left < 0:
                return kind
        return ROUTINE[0][0]

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
        context = get_context("spawn")
        self._connections: list[Connection] = []
        self._processes = []
        for number in range(min(processes, workers)):
            count = len(range(number, workers, processes))
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(url, count, theirs), daemon=True)
            process.start()
            self._connections.append(ours)
            self._processes.append(process)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """What each process returns. Raises RuntimeError for an exception in one."""
        for connection in self._connections:
            connection.send((method, arguments))
        return [self._result(connection) for connection in self._connections]

    def first(self, method: str, *arguments: Any) -> Any:
        """Of the first process alone."""
        self._connections[0].send((method, arguments))
        return self._result(self._connections[0])

    def close(self) -> None:
        self.all("close")
        for connection in self._connections:
            connection.send(None)
        for process in self._processes:
            process.join(10)

    def _result(self, connection: Connection) -> Any:
        fault, result = connection.recv()
        if fault:
            raise RuntimeError(fault)
        return result


def serve(url: str, count: int, connection: Connection) -> None:
    """In a process of its own: do what the connection says, until it says None."""
    uvloop.run(_serve(url, count, connection))


async def _serve(url: str, count: int, connection: Connection) -> None:
    fleet = Fleet(url, count)
    while (message := await asyncio.to_thread(connection.recv)) is not None:
        method, arguments = message
        try:
            connection.send(("", await getattr(fleet, method)(*arguments)))
        except Exception as error:  # noqa: BLE001 - reported to the parent
            connection.send((repr(error), None))
