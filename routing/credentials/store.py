"""What workers share about credentials: encrypted records, and leases on refreshing them."""

from typing import Final, Protocol

CHANNEL: Final = "credentials"
"""The channel of messages that name a service whose credentials have changed: workers drop what they hold of them."""
LEASE_SECONDS: Final = 25.0
"""The term of a lease: longer than a refresh may take. A worker that dies delays the next refresh by as much."""


class Store(Protocol):
    """Names are digests, values are encrypted. Raises StoreUnavailable."""

    async def read(self, name: str) -> bytes | None: ...

    async def write(self, name: str, value: bytes, seconds: float) -> None: ...

    async def remove(self, name: str) -> None: ...

    async def claim(self, name: str, owner: str) -> bool:
        """Whether `owner` has the lease now, until it is released or its term ends."""

    async def release(self, name: str, owner: str) -> None: ...

    async def announce(self, service: str) -> None:
        """Let all workers forget what they know of a service's credentials."""
