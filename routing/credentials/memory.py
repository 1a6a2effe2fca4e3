"""Records and leases in the process's memory."""

from collections.abc import Callable

from routing.credentials.store import LEASE_SECONDS


class MemoryStore:
    """`clock` is Unix time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._values: dict[str, tuple[bytes, float]] = {}
        self._leases: dict[str, tuple[str, float]] = {}

    async def read(self, name: str) -> bytes | None:
        value, until = self._values.get(name, (None, 0.0))
        return value if self._clock() < until else None

    async def write(self, name: str, value: bytes, seconds: float) -> None:
        now = self._clock()
        self._values = {key: pair for key, pair in self._values.items() if now < pair[1]}
        self._values[name] = value, now + seconds

    async def remove(self, name: str) -> None:
        self._values.pop(name, None)

    async def claim(self, name: str, owner: str) -> bool:
        held, until = self._leases.get(name, ("", 0.0))
        if held not in ("", owner) and self._clock() < until:
            return False
        self._leases[name] = owner, self._clock() + LEASE_SECONDS
        return True

    async def release(self, name: str, owner: str) -> None:
        if self._leases.get(name, ("", 0.0))[0] == owner:
            del self._leases[name]

    async def announce(self, service: str) -> None:
        """There are no other workers."""
