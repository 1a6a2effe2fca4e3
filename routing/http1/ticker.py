"""What a worker's connections know of the time, to the second: asking the clock for each request would cost more."""

import asyncio
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Final, Protocol

SECONDS: Final = 1.0


class HasTimeouts(Protocol):
    """One that may wait for too long. `now` is monotonic seconds."""

    def check_timeouts(self, now: float) -> None: ...


class Ticker:
    """`now` is monotonic seconds, `date` the Date field's value; each beat, everybody looks for what is overdue."""

    def __init__(self, everybody: Callable[[], Iterable[HasTimeouts]]) -> None:
        self._everybody = everybody
        self._timer: asyncio.TimerHandle | None = None
        self._set()

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self._beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        self.now = time.monotonic()
        self.date = formatdate(usegmt=True).encode()

    def _beat(self) -> None:
        self._set()
        for one in self._everybody():
            one.check_timeouts(self.now)
        self.start()
