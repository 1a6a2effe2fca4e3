"""What a service that hangs costs its neighbour: `python -m benchmarks.neighbour [--rounds 8] [--seconds 5]`.

One worker, and two services: one whose backend takes 5 ms, asked at a steady rate, alone and then while another whose
backend never answers is asked 200 times a second. Neighbouring rounds are compared: only their ratio counts.
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
from benchmarks.crowd import steadily
from benchmarks.figures import Aim, percentile, ratio, table, verdict
from benchmarks.slowbackend import SlowBackend

RATE: Final = 200
"""Requests a second, to each of the two."""
WELL_SECONDS: Final = 0.005
SETTLES: Final = 1.5
"""Seconds until the hung service's places and its queue are full."""
AIM: Final = Aim(1.5, most=True)
CONFIGURATION: Final = """
version: 1
services:
  well:
    targets: [{url: "$origin"}]
    cache: off
  hung:
    targets: [{url: "$hung"}]
    cache: off
    breaker: {failure_threshold: 1000}
    timeout: {connect: 2s, read: 60s, total: 60s}
"""


_spawning: Final = multiprocessing.get_context("spawn")


class Round(NamedTuple):
    """Milliseconds of the well service's answers, in ascending order; and what its neighbour's callers were told."""

    took: list[float]
    refused: int


async def one_round(gateway: servers.Running, seconds: float, *, beside: bool) -> Round:
    told, telling = _spawning.Pipe(duplex=False)
    # In a process of its own: what its callers cost must not be counted as the gateway's.
    flood = _spawning.Process(target=_flood, args=(telling, gateway, SETTLES + seconds), daemon=True)
    if beside:
        flood.start()
        told.recv()
        await asyncio.sleep(SETTLES)
    answers = await steadily(f"{gateway.services}/well/x", gateway.key, RATE, seconds)
    if any(answer.status != 200 for answer in answers) or len(answers) < int(RATE * seconds):
        raise SystemExit("the well service did not answer all")
    refused = 0
    if beside:
        refused = told.recv()
        flood.join()
    return Round(sorted((answer.ended - answer.begun) * 1_000 for answer in answers), refused)


def _flood(telling: Connection, gateway: servers.Running, seconds: float) -> None:
    telling.send(0)
    answers = uvloop.run(steadily(f"{gateway.services}/hung/x", gateway.key, RATE, seconds))
    telling.send(sum(answer.status == 503 for answer in answers))


def compare(gateway: servers.Running, rounds: int, seconds: float) -> tuple[list[Round], list[Round]]:
    """Rounds alone and beside, which come first in turn."""
    alone, beside = list[Round](), list[Round]()
    for number in range(rounds):
        for with_flood in (False, True) if number % 2 else (True, False):
            found = uvloop.run(one_round(gateway, seconds, beside=with_flood))
            (beside if with_flood else alone).append(found)
            time.sleep(SETTLES)  # the flood's callers have gone, and their calls with them
    return alone, beside


def section(alone: Sequence[Round], beside: Sequence[Round]) -> str:
    rows = []
    for share in (50.0, 95.0, 99.0):
        here, there = ([percentile(one.took, share) for one in rounds] for rounds in (alone, beside))
        of = ratio(there, here)
        aim = AIM if share == 99 else None
        middle = (f"{sorted(each)[len(each) // 2]:.2f}" for each in (here, there))
        rows.append((f"p{share:g}, ms", *middle, f"{of:.2f}", f"{aim.bound}" if aim else "", verdict(of, aim)))
    refused = sum(one.refused for one in beside)
    head = ("the well service", "alone", "beside", "ratio", "aim", "")
    return (
        f"{len(alone)} pairs of rounds; {refused} of the hung service's requests were refused.\n\n{table(head, rows)}"
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbour")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    asked = parser.parse_args(arguments)
    with SlowBackend(WELL_SECONDS) as well, SlowBackend(WELL_SECONDS) as hung:
        hung.hang(True)
        configuration = CONFIGURATION.replace("$hung", hung.url)
        with servers.gateway(well.url, configuration=configuration) as gateway:
            alone, beside = compare(gateway, asked.rounds, asked.seconds)
    print(machine.described())
    print(section(alone, beside))


if __name__ == "__main__":
    main(sys.argv[1:])
