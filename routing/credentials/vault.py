"""What is kept of credentials beyond restarts: encrypted refresh tokens, and each credential's state for staff."""

from typing import NamedTuple, Protocol

import msgspec


class GrantName(NamedTuple):
    """One grant: a service's OAuth client, and whose grant it is. `client` is a digest of the client, so that a refresh
    token is never sent to another token endpoint than its own.
    """

    service: str
    subject: str
    client: str

    def __str__(self) -> str:
        return "\n".join(self)


class StoredGrant(msgspec.Struct, frozen=True, array_like=True):
    """A refresh token. `seed` is a digest of the configured one that it descends from, or empty.

    Without a refresh token there is only an `access_token`, until `expires_at` (Unix time), or for good if that is 0.
    """

    refresh_token: str
    seed: str = ""
    access_token: str = ""
    expires_at: float = 0.0

    def __repr__(self) -> str:
        return "StoredGrant(...)"


class GrantStatus(NamedTuple):
    """A credential's state for staff: Unix times, and the code of the last failure, empty after a success. `tenant` is
    that of the caller whose it is: what is done for this caller without a request needs it too.
    """

    fresh_until: float
    failure: str
    at: float
    account: str = ""
    tenant: str = ""


class VaultUnavailable(Exception):
    """The database cannot be read or written."""


class Vault(Protocol):
    """Raises VaultUnavailable."""

    async def load(self, name: GrantName) -> bytes | None:
        """The encrypted refresh token."""

    async def save(self, name: GrantName, refresh_token: bytes) -> None:
        """Store an encrypted refresh token in place of the last one."""

    async def report(self, name: GrantName, status: GrantStatus) -> None: ...

    async def connect(self, name: GrantName, grant: bytes, account: str, now: float, tenant: str = "") -> None:
        """Store the encrypted grant of an account that has been connected, in place of any other of this owner."""

    async def remove(self, name: GrantName) -> None: ...


class MemoryVault:
    """The vault of a process that has no database: nothing outlives it."""

    def __init__(self) -> None:
        self.tokens: dict[GrantName, bytes] = {}
        self.statuses: dict[GrantName, GrantStatus] = {}

    async def load(self, name: GrantName) -> bytes | None:
        return self.tokens.get(name)

    async def save(self, name: GrantName, refresh_token: bytes) -> None:
        self.tokens[name] = refresh_token

    async def report(self, name: GrantName, status: GrantStatus) -> None:
        self.statuses[name] = status

    async def connect(self, name: GrantName, grant: bytes, account: str, now: float, tenant: str = "") -> None:
        self.tokens[name] = grant
        self.statuses[name] = GrantStatus(0.0, "", now, account, tenant)

    async def remove(self, name: GrantName) -> None:
        self.tokens.pop(name, None)
        self.statuses.pop(name, None)
