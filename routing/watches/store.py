"""Where watches are kept: in the database, which all workers have and which survives a restart."""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from routing.watches.record import Wanted, WatchRecord

LEASE_SECONDS: Final = 20.0
"""The term of a claim. A worker that dies delays the renewal by as much; others extend it while they work."""


class StoreFailed(Exception):
    """The database cannot be read or written."""


class Account(NamedTuple):
    """Whose credential of a service there is: `caller:ID` or `tenant:ID`, and when it was connected (Unix seconds).
    `tenant` is the caller's, if it has one.
    """

    service: str
    subject: str
    connected_at: float
    tenant: str = ""


class WatchStore(Protocol):
    """Raises StoreFailed."""

    async def load(self) -> list[WatchRecord]: ...

    async def accounts(self, services: Sequence[str]) -> list[Account]:
        """The accounts of tenants and callers that these services have credentials of."""

    async def add(self, wanted: Sequence[Wanted]) -> None:
        """Add a row for each that has none."""

    async def claim(self, pk: int, owner: str, now: float) -> WatchRecord | None:
        """The record as it is now, if `owner` has it alone until the term ends; None if another worker has it."""

    async def keep(self, pk: int, owner: str, now: float) -> None:
        """Extend the claim by another term."""

    async def save(self, record: WatchRecord, owner: str) -> bool:
        """Write the record, if the claim is still the owner's."""

    async def release(self, pk: int, owner: str) -> None: ...

    async def delete(self, pk: int, owner: str) -> None: ...
