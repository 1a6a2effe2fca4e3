"""The port to where batches are kept beside their worker's memory until they are in the database."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from metrics.usage.record import UsageBatch


class Backup(Protocol):
    """All methods raise StoreUnavailable if a shared store cannot be reached."""

    @property
    def is_shared(self) -> bool:
        """Whether batches outlive this process, and other workers save them."""

    async def put(self, batches: Sequence[UsageBatch]) -> None:
        """Keep these batches. Keeping one twice changes nothing."""

    async def remove(self, ids: Sequence[str]) -> None:
        """Remove batches that are in the database."""

    async def all(self) -> list[UsageBatch]:
        """The batches of all workers."""

    async def gather(self) -> None:
        """Let the other workers put what they have counted, and wait for them briefly."""

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        """Call `flush` whenever another worker calls `gather`. To be set before the link to the store starts."""


class NoBackup:
    """The Backup of a single process without Redis: what it has not saved ends with it."""

    is_shared = False

    async def put(self, batches: Sequence[UsageBatch]) -> None:
        """There is nowhere to keep them."""

    async def remove(self, ids: Sequence[str]) -> None:
        """None is kept."""

    async def all(self) -> list[UsageBatch]:
        return []

    async def gather(self) -> None:
        """There are no other workers."""

    def listen(self, flush: Callable[[], Awaitable[None]]) -> None:
        """There are no other workers."""
