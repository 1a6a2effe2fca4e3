"""What one Redis carries: `python -m benchmarks.scale [--workers 1,16,64,256] [--rate 500] [--seconds 6]`.

Virtual workers, each with the stores and drivers of a real one and a connection pool of its own, share one Redis. They
idle, take a mixed load, agree on a circuit that one of them opens, and share a limit. Needs redis-server.

`--replay 64` records what one worker sends to Redis instead, and sends it as 64 workers would: as many as this machine
could not run. The same for the numbers of `--compare`, with as many real workers beside.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks import machine, results, servers
from benchmarks.scale.fleet import ROUTINE
from benchmarks.scale.measuring import Measured, measure
from benchmarks.scale.replay import trials
from benchmarks.scale.worker import SHARED_LIMIT
from benchmarks.stats import Threshold, table, verdict

COMMAND: Final = "make scale"
TITLE: Final = "One Redis"
REPLAY_TITLE: Final = "One Redis and more workers than two cores can run"
SECONDS: Final = 6.0
REQUIRED: Final = 64
"""Workers for which the thresholds hold."""
AGREED: Final = Threshold(1.0, maximum=True)
PROCESSOR: Final = Threshold(50.0, maximum=True)
NONE: Final = Threshold(0, maximum=True)
FAILED: Final = verdict(1, NONE)


def processor_per_request(measured: Sequence[Measured], rate: float) -> float:
    """Seconds of the server: of the largest number of workers that were loaded as wanted."""
    loaded = [each for each in measured if each.is_loaded(rate)]
    return (loaded or measured)[-1].processor_per_request


def server_rows(measured: Sequence[Measured], rate: float) -> str:
    """What the server has to do."""
    cost = processor_per_request(measured, rate)
    head = [
        "workers",
        "idle: commands/s",
        "kB/s",
        "% of a core",
        "load: requests/s",
        "commands/s",
        "MB/s in",
        "MB/s out",
    ]
    head += ["% of a core", "us/request", f"% at {rate:.0f}/s each"]
    rows = [
        [
            str(each.workers),
            f"{each.idle.commands:,.0f}",
            f"{(each.idle.received + each.idle.sent) / 1_000:,.0f}",
            f"{each.idle.processor * 100:.1f}",
            f"{each.rate:,.0f}",
            f"{each.load.commands:,.0f}",
            f"{each.load.received / 1e6:.1f}",
            f"{each.load.sent / 1e6:.1f}",
            f"{each.load.processor * 100:.0f}",
            f"{each.processor_per_request * 1e6:.1f}",
            f"{each.share(rate, cost):.0f}",
        ]
        for each in measured
    ]
    return table(head, rows)


def part_rows(measured: Sequence[Measured]) -> str:
    """Commands of one worker in a second, without load and under it, and the bytes that it sends."""
    parts = sorted({part for each in measured for part in (*each.calls, *each.idle_calls)})
    head = ["part", *(f"{each.workers}: idle, load, kB/s" for each in measured)]
    rows = [
        [
            part,
            *(
                f"{each.idle_calls.get(part, 0) / each.workers:.1f}, {each.calls.get(part, 0) / each.workers:.1f}, "
                f"{each.sent.get(part, 0) / each.workers / 1_000:.1f}"
                for each in measured
            ),
        ]
        for part in parts
    ]
    return table(head, rows)


def message_rows(measured: Sequence[Measured]) -> str:
    """Messages that one worker receives in a second under load."""
    channels = sorted({channel for each in measured for channel in each.messages})
    head = ["messages received", *(str(each.workers) for each in measured)]
    rows = [
        [channel, *(f"{each.messages.get(channel, 0) / each.workers:.1f}" for each in measured)] for channel in channels
    ]
    return table(head, rows)


def check_rows(measured: Sequence[Measured], rate: float) -> str:
    """What must hold, for REQUIRED workers."""
    rows, cost = [], processor_per_request(measured, rate)
    for each in measured:
        is_required = each.workers == REQUIRED
        granted = abs(each.granted - SHARED_LIMIT.limit)
        checks = (
            (f"processor at {rate:.0f}/s each, %", each.share(rate, cost), PROCESSOR),
            ("a circuit is agreed on, s", each.agreed, AGREED),
            (f"granted beyond or below a limit of {SHARED_LIMIT.limit}", granted, NONE),
            ("requests that failed", each.failed, NONE),
        )
        rows += [
            [str(each.workers), name, f"{value:.3g}", verdict(value, threshold if is_required else None)]
            for name, value, threshold in checks
        ]
    return table(["workers", "check", "value", ""], rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--workers", default="1,16,64,256", help="numbers of workers, separated by commas")
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second of each worker")
    parser.add_argument("--seconds", type=float, help="of load for each number of workers: 6, or 20 of a replay")
    parser.add_argument("--processes", type=int, default=max(1, len(os.sched_getaffinity(0)) - 1))
    parser.add_argument("--replay", type=int, metavar="WORKERS", help="send one worker's traffic as so many")
    parser.add_argument(
        "--compare", default="4,16", help="numbers of workers of which a replay is compared to real ones"
    )
    parser.add_argument("--dry-run", action="store_true", help="do not write results.md")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    """Separated by commas; none in an empty text."""
    return [int(number) for number in text.split(",") if number]


def simulate(workers: Sequence[int], rate: float, seconds: float, processes: int) -> str:
    """Run so many workers, one number of them after the other, and return the tables."""
    measured = []
    with servers.redis() as port:
        for number in workers:
            url = f"redis://127.0.0.1:{port}/0"
            measured.append(measure(url, number, processes, rate=rate, seconds=seconds))
            print(f"{number} workers: {measured[-1].rate:,.0f} requests/s", flush=True)
    load = ", ".join(f"{share:.1%} {kind}" for kind, share in ROUTINE)
    return "\n".join(
        [
            f"Load: {load}; {processes} processes for the workers. The last column is calculated from the most "
            f"workers of which each sent at least {rate / 2:.0f} requests a second.\n",
            server_rows(measured, rate),
            "Commands of one worker in a second:\n",
            part_rows(measured),
            message_rows(measured),
            check_rows(measured, rate),
        ]
    )


def main() -> None:
    options = arguments()
    machine.raise_open_file_limit()
    title, command, rate, processes = TITLE, COMMAND, options.rate, options.processes
    if options.replay:
        title, command = REPLAY_TITLE, f'{COMMAND} ARGS="--replay {options.replay}"'
        seconds = options.seconds or trials.SECONDS
        body = trials.run(options.replay, numbers(options.compare), rate, seconds, processes)
    else:
        body = simulate(numbers(options.workers), rate, options.seconds or SECONDS, processes)
    if options.dry_run:
        print(body)
    else:
        versions = {"Redis": machine.version_of("redis-server", "--version")}
        results.publish(title, body, command=command, versions=versions)
    if FAILED in body:
        sys.exit(1)


if __name__ == "__main__":
    main()
