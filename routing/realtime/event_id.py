"""Event ids in the format of Redis Streams, `<Unix ms>-<sequence>`, strictly increasing."""

import re
from typing import Final

EventId = tuple[int, int]
"""Unix milliseconds and sequence number. Compares as the events are ordered."""

_FORMAT: Final = re.compile(r"([0-9]{1,15})-([0-9]{1,18})")
_LAST_SEQUENCE: Final = 10**18 - 1


def parse_event_id(text: str) -> EventId | None:
    """None if malformed."""
    match = _FORMAT.fullmatch(text)
    return (int(match[1]), int(match[2])) if match else None


def format_event_id(event_id: EventId) -> str:
    return f"{event_id[0]}-{event_id[1]}"


def preceding_id(event_id: EventId) -> EventId:
    """The highest id below `event_id`."""
    ms, sequence = event_id
    return (ms, sequence - 1) if sequence else (ms - 1, _LAST_SEQUENCE)


def following_id(last: EventId, now: float) -> EventId:
    """The id of a new event at `now` (Unix seconds), for logs other than Redis."""
    ms = int(now * 1_000)
    return (ms, 0) if ms > last[0] else (last[0], last[1] + 1)
