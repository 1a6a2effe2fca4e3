"""Where keys are kept. There is no deciding alone here: what another worker is doing cannot be guessed."""

from typing import Protocol

from routing.idempotency.record import IdempotencyRecord


class Store(Protocol):
    """Records by name, each for so many seconds. Raises StoreUnavailable."""

    async def begin(self, name: str, record: IdempotencyRecord, seconds: float) -> IdempotencyRecord | None:
        """Store `record` where there is none, and give None; else give what is there. One of many at once wins."""

    async def finish(self, name: str, record: IdempotencyRecord, seconds: float) -> None:
        """Store `record` in the place of its holder's own, or where there is none any more."""

    async def release(self, name: str, holder: str) -> None:
        """Forget the record if it is still its holder's."""
