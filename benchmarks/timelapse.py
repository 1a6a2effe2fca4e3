"""Run a module by a clock that another process sets: `python -m benchmarks.timelapse FILE manage rungateway`.

`time.time` is ahead of the machine's clock by the seconds in FILE, a double. Intervals (`time.monotonic`) are not: time
limits stay real, while lifetimes, rates and signatures follow the day that is played.
"""

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path
from typing import Final, Self

SECONDS: Final = struct.Struct("d")


class Timelapse:
    """The clock of a file, to be set."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(SECONDS.pack(0.0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SECONDS.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.close()

    def set(self, seconds: float) -> None:
        SECONDS.pack_into(self._memory, 0, seconds)


def install(path: str) -> None:
    """Replace `time.time`, before anything else is imported that keeps it."""
    with Path(path).open("rb") as file:
        memory = mmap.mmap(file.fileno(), SECONDS.size, access=mmap.ACCESS_READ)
    real, unpack = time.time, SECONDS.unpack_from

    def played() -> float:
        return real() + float(unpack(memory)[0])

    time.time = played


if __name__ == "__main__":
    _, clock, module, *rest = sys.argv
    install(clock)
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
