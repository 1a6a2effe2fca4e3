"""The port to the stored records, and how many are kept."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from metrics.request_log.record import RecordKind

MAX_RECORDS: Final = 5_000
"""The most records of each kind."""
MAX_BYTES: Final = 8 * 1024 * 1024
"""The most bytes of each kind's encoded records."""
KEPT_SECONDS: Final = 7 * 86_400
MAX_SAME_ID: Final = 10
"""Records that are found by one request id, which clients may repeat: the latest."""


MAX_DIGITS: Final = 16
"""Of either number of a position: Redis refuses numbers of more than 64 bits."""


class Position(NamedTuple):
    """Where a record is in the order in which all were stored: Unix milliseconds, and a number within them."""

    milliseconds: int
    number: int = 0

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Raises ValueError."""
        milliseconds, dash, number = text.partition("-")
        if not dash or not (milliseconds + number).isascii() or not milliseconds.isdigit() or not number.isdigit():
            raise ValueError("must be a position such as 1767225600000-0")
        if max(len(milliseconds), len(number)) > MAX_DIGITS:
            raise ValueError("is too long for a position")
        return cls(int(milliseconds), int(number))

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"


class NewRecord(NamedTuple):
    """A record to be stored: `data` is its encoded form."""

    kind: RecordKind
    id: str
    data: bytes


class StoredRecord(NamedTuple):
    position: Position
    data: bytes


class Store(Protocol):
    """Raises StoreUnavailable if a shared store cannot be reached."""

    async def add(self, records: Sequence[NewRecord], omitted: int) -> None:
        """Add records, and how many were omitted since the last call. Those beyond the bounds are removed."""

    async def page(self, kinds: Sequence[RecordKind], before: Position | None, count: int) -> list[StoredRecord]:
        """The latest `count` records stored before a position, the latest first."""

    async def find(self, identifier: str) -> list[StoredRecord]:
        """The latest records with this request id, the latest first."""

    async def omitted(self) -> int:
        """How many requests were not recorded since the log began, because too many came at once."""
