"""A clock that ticks once a second, shared by a worker's connections: cheaper than reading the time per request."""

import asyncio
import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Final, Protocol

INTERVAL_SECONDS: Final = 1.0


class HasTimeouts(Protocol):
    """Checks its own timeouts. `now` is monotonic seconds."""

    def check_timeouts(self, now: float) -> None: ...


class Ticker:
    """`now` is monotonic seconds, `date` the value of the Date field.

    Each tick calls `check_timeouts` on everything that `watched` returns.
    """

    def __init__(self, watched: Callable[[], Iterable[HasTimeouts]]) -> None:
        self._watched = watched
        self._timer: asyncio.TimerHandle | None = None
        self._update()

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _update(self) -> None:
        self.now = time.monotonic()
        self.date = formatdate(usegmt=True).encode()

    def _tick(self) -> None:
        self._update()
        for connection in self._watched():
            connection.check_timeouts(self.now)
        self.start()
