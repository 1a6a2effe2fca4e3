"""Ids of events, in the form Redis Streams give them: `<Unix ms>-<number>`, each higher than all before it."""

import re
from typing import Final

EventId = tuple[int, int]

_FORM: Final = re.compile(r"([0-9]{1,15})-([0-9]{1,18})")
_LAST: Final = 10**18 - 1


def parse_event_id(text: str) -> EventId | None:
    """Where an id stands among all; None when it is none."""
    form = _FORM.fullmatch(text)
    return (int(form[1]), int(form[2])) if form else None


def format_event_id(place: EventId) -> str:
    return f"{place[0]}-{place[1]}"


def preceding_id(place: EventId) -> EventId:
    """The last place before it that an event may have."""
    return (place[0], place[1] - 1) if place[1] else (place[0] - 1, _LAST)


def following_id(last: EventId, now: float) -> EventId:
    """The id of an event at `now` (Unix seconds), where Redis gives none."""
    ms = int(now * 1_000)
    return (ms, 0) if ms > last[0] else (last[0], last[1] + 1)
