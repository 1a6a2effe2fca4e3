"""How much of Django's processor time one address may use without an identity (ADR 19). Pure rules."""

from collections.abc import Callable
from typing import Final

SHARE: Final = 0.05
"""Of a worker's time, once the burst is used. Four login pages a second."""
BURST_SECONDS: Final = 2.0
"""Some 150 login pages, or twenty with all their files."""
MAX_CLIENTS: Final = 4_096
"""More are looked through for those that owe nothing any more."""


class PageBudget:
    """A leaky bucket of processor seconds for each client. `timer` is monotonic seconds."""

    def __init__(self, timer: Callable[[], float], *, share: float = SHARE, burst: float = BURST_SECONDS) -> None:
        self._timer = timer
        self._share = share
        self._burst = burst
        self._debts: dict[str, tuple[float, float]] = {}
        self._sweep_at = MAX_CLIENTS

    def __len__(self) -> int:
        return len(self._debts)

    def wait(self, client: str) -> float:
        """Seconds until `client` may use more; 0 for now."""
        excess = self._debt(client) - self._burst
        return excess / self._share if excess > 0 else 0.0

    def charge(self, client: str, seconds: float) -> None:
        """Processor seconds that `client` has used."""
        self._debts[client] = (self._debt(client) + seconds, self._timer())
        if len(self._debts) > self._sweep_at:
            self._debts = {each: debt for each, debt in self._debts.items() if self._debt(each) > 0}
            self._sweep_at = max(MAX_CLIENTS, 2 * len(self._debts))

    def _debt(self, client: str) -> float:
        debt, at = self._debts.get(client, (0.0, 0.0))
        return max(0.0, debt - (self._timer() - at) * self._share)
