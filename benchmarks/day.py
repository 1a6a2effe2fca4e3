"""A scripted day of a team of 20, and how its responses are judged. Pure: no clock, no I/O.

Each person has a page open for eight minutes in the morning and in the afternoon. It shows a channel, a mailbox, a
calendar and a contact, and reads each of them again every five seconds: 10,000 requests. Meanwhile messages and mail
arrive, events move and contacts change at the source.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import quote

from resilience.durations import HOUR

PEOPLE: Final = tuple(f"person{number:02d}@company.example" for number in range(20))
CHANNELS: Final = ("C08410213", "C08410377", "C08410402", "C08410566")
AUTHORS: Final = ("U03NADIA", "U07TOMAS", "U01IMANI")
TEAM: Final = "team@group.calendar.example"
EVENTS: Final = ("evt_3f1c", "evt_4a90", "evt_51be", "evt_7d02")
CONTACTS: Final = ("1042", "1057", "1063", "1088")
MORNING, AFTERNOON, END = 9 * HOUR, 13 * HOUR, 17 * HOUR
REFRESH_SECONDS: Final = 5.0
SITTING_SECONDS: Final = 8 * 60.0
"""How long the page is open at least."""
REQUESTS: Final = {"slack": 100, "gmail": 60, "calendar": 50, "crm": 40}
"""Of a sitting, by service."""
CHANGES: Final = {"slack": 120, "gmail": 80, "calendar": 40, "crm": 40}
"""Of the day, by service."""
LATE_SECONDS: Final = 2.0
"""After a change, a response without it is late."""


class Read(NamedTuple):
    """A request that reads. `resource` is what it depends on, or empty if nothing changes it during the day."""

    service: str
    method: str
    path: str
    body: str = ""
    resource: str = ""


class Visit(NamedTuple):
    """A request of a person at a time, in seconds of the day."""

    at: float
    person: int
    read: Read


class Change(NamedTuple):
    """A change at the source: `key` is the channel, mailbox, event or contact."""

    at: float
    service: str
    resource: str
    key: str


def visits(messages: Mapping[str, Sequence[str]], seed: int = 1) -> list[Visit]:
    """All requests in order. `messages` are ids of two messages of each mailbox."""
    rng = random.Random(seed)  # noqa: S311 - the same day in every run
    found = []
    for person, address in enumerate(PEOPLE):
        for begin in (MORNING, AFTERNOON):
            sitting = begin + rng.uniform(0, END - AFTERNOON - SITTING_SECONDS)
            for pane in (_slack(rng), _gmail(address, messages[address]), _calendar(), _crm(rng)):
                found += [Visit(sitting + index * REFRESH_SECONDS, person, read) for index, read in enumerate(pane)]
    return sorted(found)


def changes(seed: int = 2) -> list[Change]:
    """All changes in order, at random times of the day."""
    rng = random.Random(seed)  # noqa: S311 - the same changes in every run
    found = []
    for service, count in CHANGES.items():
        for _ in range(count):
            resource, key = _changed(service, rng)
            found.append(Change(rng.uniform(MORNING, END), service, resource, key))
    return sorted(found)


def _changed(service: str, rng: random.Random) -> tuple[str, str]:
    if service == "slack":
        channel = rng.choice(CHANNELS)
        return f"channel:{channel}", channel
    if service == "gmail":
        address = rng.choice(PEOPLE)
        return f"mailbox:{address}", address
    if service == "calendar":
        return f"calendar:{TEAM}", rng.choice(EVENTS)
    return "contacts", rng.choice(CONTACTS)


def _slack(rng: random.Random) -> list[Read]:
    opened = [
        Read("slack", "POST", "/conversations.list", "limit=200"),
        Read("slack", "POST", "/users.list", "limit=200"),
        Read("slack", "POST", "/team.info"),
        *(Read("slack", "POST", "/users.info", f"user={author}") for author in rng.sample(AUTHORS, 2)),
    ]
    polls = REQUESTS["slack"] - len(opened)
    first, second = rng.sample(CHANNELS, 2)
    shown = [first] * (polls // 2) + [second] * (polls - polls // 2)
    histories = (
        Read("slack", "POST", "/conversations.history", f"channel={channel}&limit=15", f"channel:{channel}")
        for channel in shown
    )
    return [*opened, *histories]


def _gmail(address: str, messages: Sequence[str]) -> list[Read]:
    mailbox, resource = f"/gmail/v1/users/{quote(address)}", f"mailbox:{address}"
    labels = Read("gmail", "GET", f"{mailbox}/labels")
    shown = [Read("gmail", "GET", f"{mailbox}/messages/{key}?format=full", "", resource) for key in messages] * 2
    listing = Read("gmail", "GET", f"{mailbox}/messages?maxResults=20", "", resource)
    return [labels, *shown, *[listing] * (REQUESTS["gmail"] - 1 - len(shown))]


def _calendar() -> list[Read]:
    opened = [Read("calendar", "GET", f"/calendar/v3{path}") for path in ("/users/me/calendarList", "/colors")]
    events = f"/calendar/v3/calendars/{quote(TEAM)}/events?singleEvents=true"
    listing = Read("calendar", "GET", events, "", f"calendar:{TEAM}")
    return [*opened, *[listing] * (REQUESTS["calendar"] - len(opened))]


def _crm(rng: random.Random) -> list[Read]:
    opened = [
        Read("crm", "GET", "/crm/v3/properties/contacts"),
        Read("crm", "GET", "/crm/v3/objects/contacts?limit=100", "", "contacts"),
    ]
    contact = Read("crm", "GET", f"/crm/v3/objects/contacts/{rng.choice(CONTACTS)}", "", "contacts")
    return [*opened, *[contact] * (REQUESTS["crm"] - len(opened))]


@dataclass
class Source:
    """What the source has responded to each request, and since when."""

    versions: dict[Read, list[tuple[float, bytes]]] = field(default_factory=dict)

    def record(self, read: Read, at: float, body: bytes) -> None:
        known = self.versions.setdefault(read, [])
        if not known or known[-1][1] != body:
            known.append((at, body))

    def dependent(self, resource: str) -> list[Read]:
        """The requests recorded so far that a change of `resource` may concern."""
        return [read for read in self.versions if read.resource == resource]

    def outdated_seconds(self, read: Read, at: float, body: bytes) -> float | None:
        """How long a response at `at` had been outdated, 0 if it was current; None if the source never gave it."""
        known = self.versions[read]
        if known[-1][1] == body:
            return 0.0
        for (_, given), (replaced_at, _) in zip(known[::-1][1:], known[::-1], strict=False):
            if given == body:
                return at - replaced_at
        return None


@dataclass
class Tally:
    """One service's day. `outdated` are seconds, one for each response that was not current."""

    requests: int = 0
    hits: int = 0
    failed: int = 0
    calls: int = 0
    unknown: int = 0
    outdated: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def hit_rate(self) -> float:
        return self.hits / self.requests if self.requests else 0.0

    @property
    def saved(self) -> float:
        return 1 - self.calls / self.requests if self.requests else 0.0

    @property
    def late(self) -> int:
        return sum(seconds > LATE_SECONDS for seconds in self.outdated)

    def count(self, status: int, verdict: str, outdated: float | None) -> None:
        """A response by its status, its X-Cache, and how long it had been outdated."""
        self.requests += 1
        self.statuses[status] += 1
        if status != 200:
            self.failed += 1
            return
        self.hits += verdict in ("HIT", "STALE")
        if outdated is None:
            self.unknown += 1
        elif outdated > 0:
            self.outdated.append(outdated)
