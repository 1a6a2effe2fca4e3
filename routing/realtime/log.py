"""Where events are kept in order: the port, and the log of a gateway that is one process."""

from collections.abc import Callable
from typing import Protocol

from routing.realtime.event_id import EventId, following_id, format_event_id


class LogFollower(Protocol):
    """Who follows a log: told of each event once and in order, or that some may be missing."""

    def begin(self, floor: EventId, last: EventId) -> None:
        """What came above `floor` follows at once, then what is new. After a cut, all from before is void."""

    def on_record(self, at: EventId, record: bytes) -> None: ...

    def lost(self) -> None:
        """Between what was heard and what will be, there may have been more."""


class Log(Protocol):
    async def append(self, record: bytes) -> str:
        """The event's id. Raises StoreUnavailable; then nobody hears of it."""

    async def follow(self, follower: LogFollower) -> None:
        """Until cancelled."""


class MemoryLog:
    """Tells its one reader at once. What a ring must remember, the reader's history does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: EventId = (int(clock() * 1_000), 0)
        self._follower: LogFollower | None = None

    async def append(self, record: bytes) -> str:
        self._last = following_id(self._last, self._clock())
        if self._follower:
            self._follower.on_record(self._last, record)
        return format_event_id(self._last)

    async def follow(self, follower: LogFollower) -> None:
        follower.begin(self._last, self._last)
        self._follower = follower
