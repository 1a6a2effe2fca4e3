"""One measurement: what the workers do, one after the other, and what it costs the server."""

import time
from collections import Counter
from typing import Any, Final

import msgspec
from redis import Redis

from benchmarks.scale.fleet import Fleets
from benchmarks.scale.worker import SHARED_LIMIT

IDLE_SECONDS: Final = 4.0
SETTLE_SECONDS: Final = 2.0
"""After the start, until nothing of it is left to do."""


class Usage(msgspec.Struct, frozen=True):
    """Of the server, in a second: processor seconds, those of its main thread, commands with those within scripts, and
    bytes.
    """

    processor: float
    main_thread: float
    commands: float
    received: float
    sent: float


class Measured(msgspec.Struct, frozen=True):
    """`rate` is what all workers together achieved, in requests a second. `calls`, `sent` (bytes) and `messages` are of
    all workers in a second under load, by part of the gateway and by channel; `idle_calls` without load.
    """

    workers: int
    idle: Usage
    load: Usage
    rate: float
    failed: int
    calls: dict[str, float]
    sent: dict[str, float]
    messages: dict[str, float]
    idle_calls: dict[str, float]
    agreed: float
    granted: int

    @property
    def processor_per_request(self) -> float:
        """Seconds of the server for one request, beside what idle workers take."""
        return max(0.0, self.load.processor - self.idle.processor) / self.rate if self.rate else 0.0

    def share(self, rate: float, processor_per_request: float) -> float:
        """Percent of one core that the server would take at `rate` requests a second of each worker."""
        return 100 * (self.idle.processor + processor_per_request * rate * self.workers)

    def is_loaded(self, rate: float) -> bool:
        """Whether each worker has sent at least half of what was wanted. The workers share this machine's processors;
        what a slower one sends each second, such as its counters, falls on fewer requests than it would.
        """
        return self.rate >= rate * self.workers / 2


class Meter:
    """What the server has used since the last call."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._last = self._read()

    def usage(self) -> Usage:
        before, self._last = self._last, self._read()
        seconds, *values = (now - then for now, then in zip(self._last, before, strict=True))
        return Usage(*(value / seconds for value in values))

    def _read(self) -> tuple[float, ...]:
        found = self._client.info()
        return (
            time.monotonic(),
            found["used_cpu_user"] + found["used_cpu_sys"],
            found["used_cpu_user_main_thread"] + found["used_cpu_sys_main_thread"],
            found["total_commands_processed"],
            found["total_net_input_bytes"],
            found["total_net_output_bytes"],
        )


def measure(url: str, workers: int, processes: int, *, rate: float, seconds: float) -> Measured:
    """With an empty server. `rate` is that of each worker."""
    client = Redis.from_url(url)
    client.flushall()
    fleets = Fleets(url, workers, processes)
    try:
        fleets.all("start")
        time.sleep(SETTLE_SECONDS)
        meter = Meter(client)
        resting = fleets.all("idle", IDLE_SECONDS)
        idle = meter.usage()
        fleets.all("warm")
        meter.usage()
        done = fleets.all("load", rate, seconds)
        load = meter.usage()
        took = max(report["seconds"] for report in done)
        statuses = total(done, "statuses", 1.0)
        return Measured(
            workers=workers,
            idle=idle,
            load=load,
            rate=sum(statuses.values()) / took,
            failed=sum(int(count) for status, count in statuses.items() if status != 200),
            calls=total(done, "calls", took),
            sent=total(done, "sent", took),
            messages=total(done, "messages", took),
            idle_calls=total(resting, "calls", IDLE_SECONDS),
            granted=sum(fleets.all("limited", 2 * SHARED_LIMIT.limit // workers)),
            agreed=_agreed(fleets),
        )
    finally:
        fleets.close()
        client.close()


def total(reports: list[dict[str, Any]], name: str, seconds: float) -> dict[Any, float]:
    """Of all processes, in a second."""
    found = Counter[Any]()
    for report in reports:
        found.update(report[name])
    return {key: count / seconds for key, count in found.items()}


def _agreed(fleets: Fleets) -> float:
    """Seconds from the moment at which one worker opens a circuit until all know."""
    opened: float = fleets.first("trip")
    agreed: list[float] = fleets.all("agreed")
    return max(0.0, max(agreed) - opened)
