"""Bounds on processor time that hold on slow and busy machines: a call is compared with known work beside it."""

import time
from collections.abc import Callable
from typing import Final

ROUNDS: Final = 5
_WORK: Final = b"%41" * 12_000


def milliseconds(call: Callable[[], object], limit: float) -> float:
    """Processor time of `call`: of the first round that stays below `limit`, otherwise the least of all rounds, in
    milliseconds of a machine that splits and joins 36 kB in one.
    """
    least = float("inf")
    for _ in range(ROUNDS):
        taken = _seconds(call) * 1000
        if taken >= limit:
            taken /= max(1.0, _seconds(_work) * 1000)
        least = min(least, taken)
        if least < limit:
            break
    return least


def _seconds(call: Callable[[], object]) -> float:
    started = time.thread_time()
    call()
    return time.thread_time() - started


def _work() -> bytes:
    parts = []
    for part in _WORK.split(b"%"):
        parts.append(part[:2])  # noqa: PERF401 - the work is interpreted code
    return b"".join(parts)


def ratio(call: Callable[[], object], other: Callable[[], object], limit: float) -> float:
    """How many times the processor time of `other` `call` takes: of the first round that stays below `limit`, or the
    least of all rounds.
    """
    least = float("inf")
    for _ in range(ROUNDS):
        least = min(least, _seconds(call) / max(_seconds(other), 1e-9))
        if least < limit:
            break
    return least
