"""The store of idempotency records. It has no fallback: without it, a worker cannot know what others are doing."""

from typing import Protocol

from routing.idempotency.record import IdempotencyRecord


class Store(Protocol):
    """Records by name, each with a lifetime in seconds. Every method may raise StoreUnavailable."""

    async def begin(self, name: str, record: IdempotencyRecord, seconds: float) -> IdempotencyRecord | None:
        """Atomically store `record` if the name has none and return None; otherwise return the existing record."""

    async def finish(self, name: str, record: IdempotencyRecord, seconds: float) -> None:
        """Store `record` if the name has a record of the same holder, or none any more."""

    async def release(self, name: str, holder: str) -> None:
        """Delete the record if it belongs to `holder`."""
