"""The state of the demonstration's mailboxes, in memory: messages depend on the mailbox."""

import zlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import Any, Final

MAX_MAILBOXES: Final = 1_000
MAX_HISTORY: Final = 100
"""Changes that are kept; older ones are answered with 404."""
FIRST_HISTORY: Final = 41_000
RECEIVED: Final = 1_771_934_402_000
LETTERS: Final = (
    ("billing@northwind.example", "Invoice 2026-0217 is ready", "The amount of EUR 4,180.00 is due on 15 March."),
    ("r.okafor@contoso.example", "Re: Renewal terms", "We can live with 24 months if the ramp stays as discussed."),
    ("travel@company.example", "Your trip to Lisbon", "Check-in opens 30 hours before TP 571 leaves."),
    ("hr@company.example", "Interview panel on Wednesday", "You have the system design hour, 14:00 to 15:00."),
    ("alerts@monitoring.example", "Resolved: disk space on db-3", "Usage fell to 61 % after the old segments went."),
    ("l.moreau@fabrikam.example", "Draft of the data agreement", "Two open points in section 4, marked in yellow."),
)
SYSTEM_LABELS: Final = ("INBOX", "SENT", "UNREAD", "STARRED", "TRASH", "IMPORTANT")


@dataclass
class Letter:
    """A message; `received` in milliseconds of Unix time, `history` when it was last changed."""

    key: str
    thread: str
    sender: str
    subject: str
    text: str
    labels: list[str]
    received: int
    history: int


@dataclass
class Mailbox:
    """`letters` by id, newest first when listed; `changes` are (history id, kind, letter, labels).

    `topic` is what its changes are published to until `watched_until`, in Unix seconds.
    """

    address: str
    letters: dict[str, Letter] = field(default_factory=dict)
    changes: list[tuple[int, str, Letter, list[str]]] = field(default_factory=list)
    history: int = FIRST_HISTORY
    topic: str = ""
    watched_until: float = 0.0

    def listed(self, label: str | None = None, query: str = "") -> list[Letter]:
        found = [letter for letter in self.letters.values() if label is None or label in letter.labels]
        words = query.lower().split()
        matching = [
            one for one in found if all(word in f"{one.sender} {one.subject} {one.text}".lower() for word in words)
        ]
        return matching[::-1]

    def add(self, sender: str, subject: str, text: str, labels: list[str], thread: str | None = None) -> Letter:
        self.history += 7
        key = f"{(zlib.crc32(self.address.encode()) << 16) + self.history:016x}"
        received = RECEIVED + 60_000 * len(self.letters)
        letter = Letter(key, thread or key, sender, subject, text, labels, received, self.history)
        self.letters[key] = letter
        self._record("messagesAdded", letter, [])
        return letter

    def relabel(self, letter: Letter, add: list[str], remove: list[str]) -> None:
        self.history += 3
        letter.labels = [*(label for label in letter.labels if label not in (*add, *remove)), *add]
        letter.history = self.history
        for kind, labels in (("labelsAdded", add), ("labelsRemoved", remove)):
            if labels:
                self._record(kind, letter, labels)

    def since(self, history: int) -> list[tuple[int, str, Letter, list[str]]] | None:
        """The changes after `history`, or None if they are not kept."""
        oldest = self.changes[0][0] if len(self.changes) >= MAX_HISTORY else FIRST_HISTORY
        if not oldest <= history <= self.history:
            return None
        return [change for change in self.changes if change[0] > history]

    def _record(self, kind: str, letter: Letter, labels: list[str]) -> None:
        self.changes = [*self.changes, (self.history, kind, letter, labels)][-MAX_HISTORY:]


class Mailboxes:
    """Mailboxes by address, each with six letters in an order of its own at first."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, Mailbox] = {}

    def of(self, address: str) -> Mailbox:
        found = self._mailboxes.get(address)
        if found is None:
            if len(self._mailboxes) >= MAX_MAILBOXES:
                self._mailboxes.clear()
            found = self._mailboxes[address] = Mailbox(address)
            seed = zlib.crc32(address.encode())
            for index in range(len(LETTERS)):
                labels = ["INBOX", "UNREAD"] if index == 0 else ["INBOX"]
                found.add(*LETTERS[(seed + index) % len(LETTERS)], labels)
        return found


def parsed(raw: bytes) -> tuple[str, str, str]:
    """Sender, subject and text of a message as it is sent (RFC 5322)."""
    message = message_from_bytes(raw, policy=default)
    body = message.get_body(("plain", "html"))
    return str(message["From"] or ""), str(message["Subject"] or ""), body.get_content().strip() if body else ""


def resource(letter: Letter, address: str, form: str) -> dict[str, Any]:
    """A message as the API shows it, in the format `minimal`, `metadata`, `full` or `raw`."""
    headers = [("From", letter.sender), ("To", address), ("Subject", letter.subject)]
    source = "".join(f"{name}: {value}\r\n" for name, value in headers) + f"\r\n{letter.text}\r\n"
    shown: dict[str, Any] = {
        "id": letter.key,
        "threadId": letter.thread,
        "labelIds": letter.labels,
        "snippet": letter.text,
        "sizeEstimate": len(source),
        "historyId": str(letter.history),
        "internalDate": str(letter.received),
    }
    if form == "raw":
        shown["raw"] = urlsafe_b64encode(source.encode()).decode()
    if form in ("full", "metadata"):
        shown["payload"] = {
            "mimeType": "text/plain",
            "headers": [{"name": name, "value": value} for name, value in headers],
        }
    if form == "full":
        data = urlsafe_b64encode(letter.text.encode()).decode()
        shown["payload"] |= {"partId": "", "filename": "", "body": {"size": len(letter.text), "data": data}}
    return shown
