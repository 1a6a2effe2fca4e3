"""How much of the machine this worker uses: gauges of the Flusher, which are summed over all workers."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

MEMORY: Final = "worker_memory_bytes"
PROCESSOR: Final = "worker_cpu_millis"
MIN_SECONDS: Final = 0.5
"""The shortest time over which the use of the processor is measured: a flush may be requested at any moment."""
_STATM: Final = Path("/proc/self/statm")


class WorkerLoad:
    """`clock` and `used` are seconds: a monotonic clock, and the processor time of this process so far."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, used: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._used = clock, used
        self._last = (clock(), used())
        self._millis = 0

    def cpu_millis(self) -> int:
        """Thousandths of one processor that were used since the last measurement."""
        now, used = self._clock(), self._used()
        elapsed = now - self._last[0]
        if elapsed >= MIN_SECONDS:
            self._millis = round(1_000 * (used - self._last[1]) / elapsed)
            self._last = (now, used)
        return self._millis


def memory_bytes() -> int:
    """The resident memory of this process; 0 where it cannot be read."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
