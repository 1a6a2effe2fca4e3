"""The queue of deliveries: its port, and its bounds."""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple, Protocol

from routing.webhooks.content import DeliveryIdentity

MAX_DELIVERIES: Final = 20_000
MAX_BYTES: Final = 64 * 1_024 * 1_024
"""The most bytes of all waiting deliveries. Beyond either limit a delivery is refused, so that its provider keeps it.
"""
TAKEN_AT_ONCE: Final = 64


class Added(Enum):
    """The result of adding a delivery."""

    QUEUED = "queued"
    DUPLICATE = "duplicate"
    FULL = "full"


class Entry(NamedTuple):
    """A delivery that a worker has taken, encoded. No other worker has it meanwhile."""

    id: str
    data: bytes


class Queue(Protocol):
    """Raises StoreUnavailable."""

    async def add(self, identity: DeliveryIdentity | None, data: bytes) -> Added:
        """Queue a delivery and remember its identity, or neither. Without an identity it is no duplicate."""

    async def take(self, limit: int) -> list[Entry]:
        """Wait a moment for deliveries whose time has come, and take at most `limit`."""

    async def keep(self, entries: Iterable[Entry]) -> None:
        """Say that these are still being worked on: otherwise another worker takes them."""

    async def done(self, entry: Entry) -> None:
        """Remove a delivery."""

    async def put_back(self, entry: Entry, data: bytes, seconds: float) -> None:
        """Replace a delivery, and let it wait for so long."""

    async def depth(self) -> int:
        """The number of deliveries that are not done."""

    async def close(self) -> list[bytes]:
        """End. Returns the deliveries that would be lost with this process."""
