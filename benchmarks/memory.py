"""The memory of one worker, idle and after a million requests: `python -m benchmarks.memory [--requests 1000000]`.

The requests are the eight kinds of the `mixed` case of benchmarks.compare, which together use cache, circuits, rate
limits and counters. Measured is the worker's resident memory, including pages shared with its parent.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

from benchmarks import machine, results, servers, wrk
from benchmarks.compare.cases import MIX_ERROR_SHARE, mixed_requests
from benchmarks.compare.recording import record
from benchmarks.processes import children, resident_bytes
from benchmarks.servers import RunningGateway
from benchmarks.stats import Threshold, table, verdict
from benchmarks.wrk import Load

SETTLE_SECONDS: Final = 5.0
"""Until a worker has finished starting."""
IDLE_THRESHOLD: Final = Threshold(130.0, maximum=True)
GROWTH_THRESHOLD: Final = Threshold(1.10, maximum=True)


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    with servers.backend() as origin, servers.gateway(origin) as gateway:
        time.sleep(SETTLE_SECONDS)
        idle = megabytes(gateway)
        record(gateway)
        load = Load(gateway.address, error_share=MIX_ERROR_SHARE, mix=mixed_requests(gateway))
        warm_requests = send(load, options.warm_up)
        warm = megabytes(gateway)
        requests = send(load, options.requests)
        after = megabytes(gateway)
    report = section(idle, (warm_requests, warm), (requests, after))
    if options.dry:
        print(report)
    else:
        results.publish("Memory", report, command=" ".join(["python -m benchmarks.memory", *arguments]))


def megabytes(gateway: RunningGateway) -> float:
    """The resident memory of the worker, which is the largest child of the main process."""
    return max(resident_bytes(pid) for pid in children(gateway.pid)) / 1e6


def send(load: Load, count: int) -> int:
    """Send at least `count` requests, and return how many. Raises ValueError if a run is invalid."""
    total = 0
    while total < count:
        result = wrk.run(load, 10 if count - total > 20_000 else 1)
        fault = result.fault(load)
        if fault:
            raise ValueError(fault)
        total += result.requests
    return total


def section(idle: float, warm: tuple[int, float], after: tuple[int, float]) -> str:
    """The three measurements with their thresholds."""
    growth = after[1] / warm[1]
    rows = [
        ["idle", f"{idle:.1f} MB", "under 130 MB", verdict(idle, IDLE_THRESHOLD)],
        [f"after warm-up, {warm[0]:,} requests", f"{warm[1]:.1f} MB", "", ""],
        [
            f"after {after[0]:,} more",
            f"{after[1]:.1f} MB ({growth - 1:+.1%})",
            "growth under 10 %",
            verdict(growth, GROWTH_THRESHOLD),
        ],
    ]
    return table(["one worker", "resident memory", "threshold", ""], rows)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--warm-up", type=int, default=50_000, help="requests before the first measurement under load")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--dry", action="store_true", help="print the report without writing results.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    machine.raise_open_file_limit()
    main(sys.argv[1:])
