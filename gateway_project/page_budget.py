"""How much of Django's processor time may be used without an identity (ADR 19). Pure rules."""

from collections.abc import Callable
from typing import Final, NamedTuple


class Allowance(NamedTuple):
    """Processor seconds at once, and then a share of a worker's time."""

    burst: float
    share: float


CLIENT: Final = Allowance(2.0, 0.05)
"""Of one address: some 150 login pages, or twenty with all their files, and then four login pages a second."""
TOTAL: Final = Allowance(5.0, 0.10)
"""Of all addresses together, but those that have shown an identity lately."""
KNOWN_SECONDS: Final = 600.0
MAX_CLIENTS: Final = 4_096
"""More are looked through for those that owe nothing any more."""

_Debt = tuple[float, float]
"""Processor seconds, as of a time."""
_NO_DEBT: Final[_Debt] = (0.0, 0.0)


class PageBudget:
    """A leaky bucket of processor seconds for each client, and one for all. `timer` is monotonic seconds."""

    def __init__(self, timer: Callable[[], float], *, client: Allowance = CLIENT, total: Allowance = TOTAL) -> None:
        self._timer = timer
        self._client = client
        self._total = total
        self._total_debt = _NO_DEBT
        self._debts: dict[str, _Debt] = {}
        self._known: dict[str, float] = {}
        self._sweep_at = MAX_CLIENTS

    def __len__(self) -> int:
        return len(self._debts)

    def wait(self, client: str) -> float:
        """Seconds until `client` may use more; 0 for now."""
        own = self._excess(self._debts.get(client, _NO_DEBT), self._client)
        if client in self._known and self._known[client] > self._timer():
            return own
        return max(own, self._excess(self._total_debt, self._total))

    def recognise(self, client: str) -> None:
        """A request of `client` was authenticated: for a while, a flood of others does not delay it."""
        now = self._timer()
        self._known[client] = now + KNOWN_SECONDS
        if len(self._known) > MAX_CLIENTS:
            self._known = {each: end for each, end in self._known.items() if end > now}

    def charge(self, client: str, seconds: float) -> None:
        """Processor seconds that `client` has used."""
        now = self._timer()
        self._debts[client] = (self._left(self._debts.get(client, _NO_DEBT), self._client) + seconds, now)
        self._total_debt = (self._left(self._total_debt, self._total) + seconds, now)
        if len(self._debts) > self._sweep_at:
            self._debts = {each: debt for each, debt in self._debts.items() if self._left(debt, self._client) > 0}
            self._sweep_at = max(MAX_CLIENTS, 2 * len(self._debts))

    def _excess(self, debt: _Debt, allowance: Allowance) -> float:
        return max(0.0, self._left(debt, allowance) - allowance.burst) / allowance.share

    def _left(self, debt: _Debt, allowance: Allowance) -> float:
        seconds, at = debt
        return max(0.0, seconds - (self._timer() - at) * allowance.share)
