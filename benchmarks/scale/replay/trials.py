"""The replay as a benchmark: recordings, replays, real workers, and their tables."""

from collections.abc import Sequence
from typing import Final

from benchmarks.scale.replay.measuring import record, replay, run_real
from benchmarks.scale.replay.report import Trial, check_rows, profile_rows, request_rows, server_rows

SECONDS: Final = 20.0
"""Of a recording: a multiple of all intervals of a worker, the longest of which is that of the counts of paths."""


def run(workers: int, compared: Sequence[int], rate: float, seconds: float, processes: int) -> str:
    """The tables. `rate` is that of each worker, and `processes` are those of the real ones."""
    trials = [
        _trial(number, rate, seconds, processes, is_compared=number != workers) for number in (*compared, workers)
    ]
    return "\n".join(
        [
            f"One worker's traffic of {seconds:g} seconds at {rate:g} requests/s was recorded, and sent by each of so "
            f'many workers in {seconds:g} seconds; "real" are as many workers with their drivers.\n',
            server_rows(trials),
            request_rows(trials[-1]),
            profile_rows(trials[-1]),
            check_rows(trials, workers),
        ]
    )


def _trial(workers: int, rate: float, seconds: float, processes: int, *, is_compared: bool) -> Trial:
    recorded = record(workers, rate, seconds)
    print(f"{workers} workers: recorded at {recorded.rate:,.0f} requests/s", flush=True)
    replayed = replay(recorded, workers)
    print(f"{workers} workers: Redis took {replayed.usage.processor:.1%} of a core", flush=True)
    return Trial(
        workers=workers,
        wanted=rate,
        rate=recorded.rate,
        seconds=seconds,
        recorded=recorded.recording.counts,
        replayed=replayed,
        real=run_real(workers, processes, rate, seconds) if is_compared else None,
    )
