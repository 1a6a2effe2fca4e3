"""The memory of one worker, idle and after a million requests: `python -m benchmarks.memory [--requests 1000000]`.

The requests are the eight kinds of benchmarks.compare in turn, so that caches, circuits, limits and counts all have had
their part. Memory is what the worker's process has resident, pages that it shares with its parent included.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

from benchmarks import machine, results, servers, wrk
from benchmarks.compare.cases import kinds
from benchmarks.compare.recording import recorded
from benchmarks.figures import Aim, table, verdict
from benchmarks.processes import children, resident
from benchmarks.servers import Running
from benchmarks.wrk import Load

REFUSED: Final = 3 / 8
SETTLE_SECONDS: Final = 5.0
"""Until a worker has done what it does at its start."""
IDLE_AIM: Final = Aim(130.0, most=True)
GROWTH_AIM: Final = Aim(1.10, most=True)


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    with servers.backend() as origin, servers.gateway(origin) as gateway:
        time.sleep(SETTLE_SECONDS)
        idle = megabytes(gateway)
        recorded(gateway)
        load = Load(gateway.address, refused=REFUSED, asks=kinds(gateway))
        warm_requests = asked(load, options.warm_up)
        warm = megabytes(gateway)
        requests = asked(load, options.requests)
        after = megabytes(gateway)
    report = section(idle, (warm_requests, warm), (requests, after))
    if options.dry:
        print(report)
    else:
        results.publish("Memory", report, command=" ".join(["python -m benchmarks.memory", *arguments]))


def megabytes(gateway: Running) -> float:
    """Of its one worker: the largest process under the main one."""
    return max(resident(pid) for pid in children(gateway.pid)) / 1e6


def asked(load: Load, count: int) -> int:
    """At least so many requests, all as they should be. Raises ValueError when they are not."""
    total = 0
    while total < count:
        measured = wrk.run(load, 10 if count - total > 20_000 else 1)
        fault = measured.fault(load)
        if fault:
            raise ValueError(fault)
        total += measured.requests
    return total


def section(idle: float, warm: tuple[int, float], after: tuple[int, float]) -> str:
    """Three readings, each beside its aim."""
    growth = after[1] / warm[1]
    rows = [
        ["idle", f"{idle:.1f} MB", "under 130 MB", verdict(idle, IDLE_AIM)],
        [f"after warm-up, {warm[0]:,} requests", f"{warm[1]:.1f} MB", "", ""],
        [
            f"after {after[0]:,} more",
            f"{after[1]:.1f} MB ({growth - 1:+.1%})",
            "within 10 % of that",
            verdict(growth, GROWTH_AIM),
        ],
    ]
    return table(["one worker", "resident", "aim", ""], rows)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--warm-up", type=int, default=50_000, help="requests before the first reading under load")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--dry", action="store_true", help="print, and leave results.md as it is")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    machine.allow_many_connections()
    main(sys.argv[1:])
