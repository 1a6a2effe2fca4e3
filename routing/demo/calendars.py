"""The state of the demonstration's calendars, in memory."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final

from routing.demo.json_backend import JsonObject

OWNER: Final = "me@company.example"
TEAM_CALENDAR: Final = "team@group.calendar.example"
CREATED: Final = "2026-11-23T08:00:00.000Z"
MAX_EVENTS: Final = 1_000
EVENTS: Final = (
    ("evt_3f1c", "Weekly planning", "2026-11-30T09:00:00Z", "2026-11-30T09:30:00Z", "Room Aalto"),
    ("evt_4a90", "Contoso renewal call", "2026-11-30T13:00:00Z", "2026-11-30T13:45:00Z", "Video"),
    ("evt_51be", "Incident review: INC-2041", "2026-12-01T15:00:00Z", "2026-12-01T16:00:00Z", "Room Eames"),
    ("evt_7d02", "Hiring panel, platform", "2026-12-02T14:00:00Z", "2026-12-02T15:00:00Z", "Room Aalto"),
)
WRITABLE: Final = ("summary", "description", "location", "start", "end", "status", "attendees")


@dataclass
class Calendar:
    """`events` by id, those that were deleted included; `versions` is when each changed last."""

    key: str
    summary: str
    events: dict[str, JsonObject] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    version: int = 0

    def current(self) -> list[JsonObject]:
        return [event for event in self.events.values() if event["status"] != "cancelled"]

    def changed_since(self, version: int) -> list[JsonObject]:
        return [event for key, event in self.events.items() if self.versions[key] > version]

    def insert(self, given: JsonObject, key: str | None = None) -> JsonObject:
        event_id = key or hashlib.sha256(f"{self.key} {self.version}".encode()).hexdigest()[:26]
        start = given.get("start", {"dateTime": "2026-12-03T09:00:00Z"})
        event: JsonObject = {
            "kind": "calendar#event",
            "id": event_id,
            "status": "confirmed",
            "htmlLink": f"https://www.google.com/calendar/event?eid={event_id}",
            "created": CREATED,
            "creator": {"email": OWNER},
            "organizer": {"email": self.key},
            "iCalUID": f"{event_id}@google.com",
            "sequence": 0,
            "eventType": "default",
            "start": start,
            "end": given.get("end", start),
        }
        event.update((name, given[name]) for name in WRITABLE if name in given)
        return self._store(event)

    def update(self, key: str, given: JsonObject) -> JsonObject:
        event = self.events[key]
        changes: JsonObject = {name: given[name] for name in WRITABLE if name in given}
        return self._store({**event, **changes, "sequence": event["sequence"] + 1})

    def delete(self, key: str) -> None:
        self._store({**self.events[key], "status": "cancelled"})

    def _store(self, event: JsonObject) -> JsonObject:
        self.version += 1
        if len(self.events) >= MAX_EVENTS:
            oldest = next(iter(self.events))
            del self.events[oldest], self.versions[oldest]
        stored = event | {"updated": f"2026-11-29T08:{self.version // 60 % 60:02d}:{self.version % 60:02d}.000Z"}
        stored["etag"] = etag({name: value for name, value in stored.items() if name != "etag"})
        self.events[event["id"]] = stored
        self.versions[event["id"]] = self.version
        return stored


class Calendars:
    """Calendars by id: the caller's own, and one of the team."""

    def __init__(self) -> None:
        self._calendars = {key: Calendar(key, name) for key, name in ((OWNER, "Me"), (TEAM_CALENDAR, "Team"))}
        for calendar in self._calendars.values():
            for key, summary, start, end, location in EVENTS:
                times = {"start": {"dateTime": start, "timeZone": "UTC"}, "end": {"dateTime": end, "timeZone": "UTC"}}
                calendar.insert({"summary": summary, "location": location, **times}, key)

    def of(self, key: str) -> Calendar | None:
        return self._calendars.get(OWNER if key == "primary" else key)

    def all(self) -> list[Calendar]:
        return list(self._calendars.values())


def etag(content: Any) -> str:
    return f'"{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}"'
