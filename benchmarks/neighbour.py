"""Isolation of services from a hanging neighbour: `python -m benchmarks.neighbour [--rounds 8] [--seconds 5]`.

One worker with two services. The healthy one, whose backend takes 5 ms, receives a constant rate of requests: in one
round alone, in the next while 200 requests per second go to the other, whose backend never responds. Adjacent rounds
are compared as a ratio.
"""

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

import uvloop

from benchmarks import machine, servers
from benchmarks.load_generator import open_loop
from benchmarks.slowbackend import SlowBackend
from benchmarks.stats import Threshold, median_ratio, percentile, table, verdict

RATE: Final = 200
"""Requests per second, to each of the two services."""
BACKEND_SECONDS: Final = 0.005
SETTLE_SECONDS: Final = 1.5
"""Until the bulkhead of the hanging service and its queue are full."""
THRESHOLD: Final = Threshold(1.5, maximum=True)
CONFIGURATION: Final = """
version: 1
services:
  healthy:
    targets: [{url: "$origin"}]
    cache: off
  hanging:
    targets: [{url: "$hanging"}]
    cache: off
    breaker: {failure_threshold: 1000}
    timeout: {connect: 2s, read: 60s, total: 60s}
"""

_spawn: Final = multiprocessing.get_context("spawn")


class Round(NamedTuple):
    """Latencies of the healthy service in milliseconds, ascending; and the number of rejected requests of the other."""

    latencies: list[float]
    rejected: int


async def run_round(gateway: servers.RunningGateway, seconds: float, *, with_neighbour: bool) -> Round:
    receiver, sender = _spawn.Pipe(duplex=False)
    # The neighbour's load generator has a process of its own, so that it does not delay the one that is measured.
    neighbour = _spawn.Process(target=_load_neighbour, args=(sender, gateway, SETTLE_SECONDS + seconds), daemon=True)
    if with_neighbour:
        neighbour.start()
        receiver.recv()
        await asyncio.sleep(SETTLE_SECONDS)
    samples = await open_loop(f"{gateway.services}/healthy/x", gateway.key, RATE, seconds)
    if any(sample.status != 200 for sample in samples) or len(samples) < int(RATE * seconds):
        raise SystemExit("requests to the healthy service failed")
    rejected = 0
    if with_neighbour:
        rejected = receiver.recv()
        neighbour.join()
    return Round(sorted((sample.ended - sample.started) * 1_000 for sample in samples), rejected)


def _load_neighbour(sender: Connection, gateway: servers.RunningGateway, seconds: float) -> None:
    sender.send(0)
    samples = uvloop.run(open_loop(f"{gateway.services}/hanging/x", gateway.key, RATE, seconds))
    sender.send(sum(sample.status == 503 for sample in samples))


def compare(gateway: servers.RunningGateway, rounds: int, seconds: float) -> tuple[list[Round], list[Round]]:
    """Pairs of rounds, alone and with the neighbour, in alternating order."""
    alone, loaded = list[Round](), list[Round]()
    for number in range(rounds):
        for with_neighbour in (False, True) if number % 2 else (True, False):
            result = uvloop.run(run_round(gateway, seconds, with_neighbour=with_neighbour))
            (loaded if with_neighbour else alone).append(result)
            time.sleep(SETTLE_SECONDS)  # until the neighbour's clients and calls are gone
    return alone, loaded


def section(alone: Sequence[Round], loaded: Sequence[Round]) -> str:
    rows = []
    for percent in (50.0, 95.0, 99.0):
        before, after = ([percentile(each.latencies, percent) for each in rounds] for rounds in (alone, loaded))
        ratio = median_ratio(after, before)
        threshold = THRESHOLD if percent == 99 else None
        medians = (f"{sorted(values)[len(values) // 2]:.2f}" for values in (before, after))
        bound = f"{threshold.bound}" if threshold else ""
        rows.append((f"p{percent:g}, ms", *medians, f"{ratio:.2f}", bound, verdict(ratio, threshold)))
    rejected = sum(each.rejected for each in loaded)
    head = ("healthy service", "alone", "with neighbour", "ratio", "at most", "")
    summary = f"{len(alone)} pairs of rounds; {rejected} requests to the hanging service were rejected."
    return f"{summary}\n\n{table(head, rows)}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbour")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args(arguments)
    with SlowBackend(BACKEND_SECONDS) as healthy, SlowBackend(BACKEND_SECONDS) as hanging:
        hanging.hang(True)
        configuration = CONFIGURATION.replace("$hanging", hanging.url)
        with servers.gateway(healthy.url, configuration=configuration) as gateway:
            alone, loaded = compare(gateway, options.rounds, options.seconds)
    print(machine.describe())
    print(section(alone, loaded))


if __name__ == "__main__":
    main(sys.argv[1:])
