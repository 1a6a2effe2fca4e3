"""Leases on fetches: of all workers that want the same response, one at a time fetches it, until it has or is dead."""

from enum import StrEnum
from typing import Final, NamedTuple, Protocol

LEASE_SECONDS: Final = 5.0
"""The term of a lease. An owner that does not renew it within that is considered dead."""
RENEW_SECONDS: Final = LEASE_SECONDS / 3
"""How often an owner renews its lease, so that one renewal may be lost."""
STORED_SECONDS: Final = 1.0
"""How long STORED remains, for workers that looked up before the response was stored and claim the lease after."""


class ClaimResult(StrEnum):
    """The result of claiming a lease; also what an owner leaves behind when it releases one."""

    OURS = ""
    """The claim succeeded. On release: nothing is left behind."""
    THEIRS = "?"
    """Another worker owns the lease."""
    STORED = "+"
    """The response has been stored."""
    UNCACHEABLE = "-"
    """The response cannot be stored."""


class Claim(NamedTuple):
    """A claim to a lease, and its result."""

    owner: str
    result: ClaimResult


class Release(NamedTuple):
    """The end of a lease: what its owner leaves behind, and for how many seconds."""

    name: str
    owner: str
    result: ClaimResult
    seconds: float

    @property
    def milliseconds(self) -> int:
        return int(self.seconds * 1_000)


class Leases(Protocol):
    """Raises StoreUnavailable."""

    async def claim(self, service: str, name: str, owner: str, *, missed: bool) -> ClaimResult:
        """Claim a lease. `missed`: we got STORED before, and found no usable response, so that it is ignored."""

    async def renew(self, service: str, name: str, owner: str) -> bool:
        """Extend our lease by its term. False: it is no longer ours."""

    async def release(self, service: str, name: str, owner: str, result: ClaimResult, seconds: float) -> None:
        """End our lease. STORED and UNCACHEABLE remain for `seconds`; OURS leaves nothing."""
