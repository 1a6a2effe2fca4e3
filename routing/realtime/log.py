"""The ordered log of events: its port, and an implementation for a gateway of one process."""

from collections.abc import Callable
from typing import Protocol

from routing.realtime.event_id import EventId, following_id, format_event_id


class LogFollower(Protocol):
    """Receives every event of a log once and in order, or is notified of a gap."""

    def on_start(self, floor: EventId, last: EventId) -> None:
        """The log (re)starts: discard earlier events. Those above `floor` follow at once, then new ones."""

    def on_record(self, event_id: EventId, record: bytes) -> None: ...

    def on_gap(self) -> None:
        """Events between the last one received and the next may be missing."""


class Log(Protocol):
    """An append-only sequence of encoded records."""

    async def append(self, record: bytes, once: str | None = None) -> str:
        """Return the event's id. Raises StoreUnavailable; then no follower receives the record.

        A second record with the same `once` is not appended, and has no id.
        """

    async def follow(self, follower: LogFollower) -> None:
        """Run until cancelled, or return after registering the follower."""


class MemoryLog:
    """Passes each record to its one follower immediately. Replay comes from the follower's history."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: EventId = (int(clock() * 1_000), 0)
        self._follower: LogFollower | None = None

    async def append(self, record: bytes, once: str | None = None) -> str:  # noqa: ARG002 - see below
        """`once` is for workers that may end between this and what follows it: this one has nobody to continue it."""
        self._last = following_id(self._last, self._clock())
        if self._follower:
            self._follower.on_record(self._last, record)
        return format_event_id(self._last)

    async def follow(self, follower: LogFollower) -> None:
        follower.on_start(self._last, self._last)
        self._follower = follower
