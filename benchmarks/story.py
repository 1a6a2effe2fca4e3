"""The mixed-load story: `python -m benchmarks.story [--requests 1000] [--patience 30]`.

The same 1,000 requests with and without the gateway: 85 % repeats before a backend of 320 ms; and before a backend that
hangs twice for five seconds, where without a gateway each caller waits until its own patience ends.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import uvloop

from benchmarks import machine, results, servers
from benchmarks.figures import Aim, percentile, table, verdict
from benchmarks.slowbackend import SlowBackend
from routing.backend.client import Backend, Call
from routing.errors import BadGateway, UpstreamTimeout
from routing.router.policy import Target, Timeout

REPEATS: Final = 0.85
CALLERS: Final = 20
PACE: Final = 40
"""Requests a second before the failing backend."""
SLOW_SECONDS: Final = 0.32
QUICK_SECONDS: Final = 0.02
OUTAGES: Final = ((0.2, 0.4), (0.6, 0.8))
"""When the backend hangs, in shares of the whole."""
HIT_AIM, CALLS_AIM = Aim(0.984), Aim(0.85)
FAILING_AIM: Final = Aim(0.001, most=True)
CONFIGURATION: Final = """
version: 1
services:
  slow:
    targets: [{url: "$origin"}]
    cache: {ttl: 300}
  circuit:
    targets: [{url: "$origin"}]
    cache: off
    max_concurrency: 1024
    timeout: {connect: 1s, read: 1s, total: 2s}
    breaker: {failure_threshold: 5, window: 60s, open_for: 1s}
  cached:
    targets: [{url: "$origin"}]
    cache: {ttl: 2, stale_if_error: 300}
    max_concurrency: 1024
    timeout: {connect: 1s, read: 1s, total: 2s}
    breaker: {failure_threshold: 5, window: 60s, open_for: 1s}
"""


@dataclass(slots=True)
class Told:
    """What the callers saw: seconds for each answer, those from the cache and those that failed apart."""

    total: float = 0.0
    calls: int = 0
    good: list[float] = field(default_factory=list)
    hits: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)


def repeating(requests: int, repeats: float, seed: int = 1) -> list[int]:
    """Which page each request is for: exactly `repeats` of them are for one that was asked for before."""
    chance = random.Random(seed)  # noqa: S311 - the same sequence in every run
    pages = round(requests * (1 - repeats))
    firsts = {0, *chance.sample(range(1, requests), pages - 1)}
    sequence: list[int] = []
    for number in range(requests):
        sequence.append(len(set(sequence)) if number in firsts else chance.choice(sequence))
    return sequence


class Callers:
    """Asks below `base`, with a key and so much patience."""

    def __init__(self, base: str, key: str, patience: float) -> None:
        self.told = Told()
        self._base = Target(base)
        self._headers = [(b"x-api-key", key.encode())] if key else []
        self._timeout = Timeout(connect=patience, read=patience, total=patience)
        self._backend = Backend()

    async def ask(self, page: int) -> None:
        begun = time.perf_counter()
        call = Call("GET", b"/page/%d" % page, self._headers, None)
        try:
            answer = await self._backend.send(self._base, call, self._timeout)
            async for _ in answer.body:
                pass
        except (BadGateway, UpstreamTimeout):
            self.told.failed.append(time.perf_counter() - begun)
            return
        took = time.perf_counter() - begun
        if answer.status >= 400:
            self.told.failed.append(took)
            return
        self.told.good.append(took)
        if dict(answer.headers).get(b"x-cache") == b"HIT":
            self.told.hits.append(took)

    async def close(self) -> None:
        await self._backend.close()


async def together(callers: Callers, pages: Sequence[int]) -> None:
    """So many callers, each asking again when it has its answer."""
    left = iter(pages)

    async def caller() -> None:
        for page in left:
            await callers.ask(page)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def paced(callers: Callers, pages: Sequence[int], backend: SlowBackend) -> None:
    """At a fixed pace, while the backend hangs and recovers."""
    length = len(pages) / PACE
    loop = asyncio.get_running_loop()
    for begin, end in OUTAGES:
        loop.call_later(begin * length, backend.hang, True)
        loop.call_later(end * length, backend.hang, False)
    begun = loop.time()
    asked = []
    for number, page in enumerate(pages):
        await asyncio.sleep(begun + number / PACE - loop.time())
        asked.append(asyncio.create_task(callers.ask(page)))
    await asyncio.gather(*asked)


Scene = Callable[[Callers], Coroutine[Any, Any, None]]


def played(scene: Scene, base: str, key: str, patience: float, backend: SlowBackend) -> Told:
    """One telling of a story, from outside."""

    async def telling() -> Told:
        callers = Callers(base, key, patience)
        before, begun = backend.calls, time.perf_counter()
        await scene(callers)
        callers.told.total = time.perf_counter() - begun
        callers.told.calls = backend.calls - before
        await callers.close()
        return callers.told

    return uvloop.run(telling())


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    machine.allow_many_connections()
    pages = repeating(options.requests, REPEATS)
    with SlowBackend(SLOW_SECONDS) as slow, servers.gateway(slow.url, configuration=CONFIGURATION) as gateway:
        base, key = gateway.services, gateway.key

        def scene(callers: Callers) -> Coroutine[Any, Any, None]:
            return together(callers, pages)

        told = {
            "without": played(scene, slow.url, "", options.patience, slow),
            "with": played(scene, f"{base}/slow", key, options.patience, slow),
        }
        report = repeats_section(told["without"], told["with"])
    with SlowBackend(QUICK_SECONDS) as quick, servers.gateway(quick.url, configuration=CONFIGURATION) as gateway:
        base, key = gateway.services, gateway.key

        def failing(callers: Callers) -> Coroutine[Any, Any, None]:
            return paced(callers, pages, quick)

        told = {
            "without the gateway": played(failing, quick.url, "", options.patience, quick),
            "with, nothing cached": played(failing, f"{base}/circuit", key, options.patience, quick),
            "with, cached": played(failing, f"{base}/cached", key, options.patience, quick),
        }
        report += "\n" + outages_section(told, options.patience)
    if options.dry:
        print(report)
    else:
        results.publish("Mixed load", report, command=" ".join(["python -m benchmarks.story", *arguments]))


def repeats_section(without: Told, through: Told) -> str:
    """Both tellings, and what the gateway spared."""
    rows = [
        ["total time", f"{without.total:.2f} s", f"{through.total:.2f} s", "", ""],
        [
            "backend calls",
            str(without.calls),
            str(through.calls),
            *_spared(1 - through.calls / without.calls, CALLS_AIM),
        ],
        ["failed requests", str(len(without.failed)), str(len(through.failed)), "", ""],
    ]
    backend, hit = percentile(sorted(without.good), 50), percentile(sorted(through.hits), 50)
    rows.append(["a repeat, median", _ms(backend), _ms(hit), *_spared(1 - hit / backend, HIT_AIM)])
    head = ["", "without", "with", "spared", ""]
    return f"### {len(without.good)} requests, 85 % repeats, a backend of 320 ms\n\n{table(head, rows)}"


def _spared(share: float, aim: Aim) -> tuple[str, str]:
    return f"{share:.1%} (at least {aim.bound:.1%})", verdict(share, aim)


def outages_section(told: dict[str, Told], patience: float) -> str:
    """The tellings beside each other. Failing answers are told by their median and their longest."""
    rows = []
    for name, seen in told.items():
        failed = sorted(seen.failed)
        typical, longest = (percentile(failed, 50), failed[-1]) if failed else (0.0, 0.0)
        counts = [f"{seen.total:.1f} s", str(seen.calls), str(len(failed))]
        said = verdict(typical, FAILING_AIM) if failed and name != next(iter(told)) else ""
        rows.append([name, *counts, _ms(typical) if failed else "none", _ms(longest) if failed else "none", said])
    head = ["", "total time", "backend calls", "failed", "a failing answer, median (at most 1 ms)", "longest", ""]
    return (
        f"### The same requests, a backend that hangs two fifths of the time, callers' patience {patience:g} s\n\n"
        + (table(head, rows))
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.2f} ms"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.story", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--patience", type=float, default=30, help="seconds that a caller waits for an answer")
    parser.add_argument("--dry", action="store_true", help="print, and leave results.md as it is")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
