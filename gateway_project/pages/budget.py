"""How much of Django's processor time may be used without an identity (ADR 19). Pure rules."""

from collections.abc import Callable
from typing import Final, NamedTuple


class Allowance(NamedTuple):
    """Processor seconds at once, and then a share of a worker's time."""

    burst: float
    share: float


CLIENT: Final = Allowance(2.0, 0.05)
"""The allowance of one address: about 150 login pages, or twenty with all their files, then four login pages a second.
"""
TOTAL: Final = Allowance(5.0, 0.10)
"""The allowance of all addresses together, except those that have shown an identity lately."""
KNOWN: Final = Allowance(10.0, 0.25)
"""The allowance of an address that has shown an identity lately: the files of its pages are requested without one."""
KNOWN_SECONDS: Final = 600.0
SERVICE_RATE: Final = 5.0
"""From this many requests a second for services on, pages have to leave them processor time."""
RATE_SECONDS: Final = 1.0
"""The time over which that rate is measured."""
MAX_CLIENTS: Final = 4_096
"""Above this number, clients that owe nothing any more are removed."""

_Debt = tuple[float, float]
"""Processor seconds owed, and the time as of which they are."""
_NO_DEBT: Final[_Debt] = (0.0, 0.0)


class ServiceTraffic:
    """Whether this worker handles requests for services, besides pages. The code that handles them increments
    `requests`.
    """

    def __init__(self, timer: Callable[[], float]) -> None:
        self.requests = 0
        self._timer = timer
        self._since = timer()
        self._requests_before = 0
        self._is_present = False

    def is_present(self) -> bool:
        """Whether there were SERVICE_RATE requests a second. A rate that was measured holds for RATE_SECONDS."""
        now = self._timer()
        seconds = now - self._since
        if seconds >= RATE_SECONDS:
            self._is_present = self.requests - self._requests_before >= SERVICE_RATE * seconds
            self._since, self._requests_before = now, self.requests
        return self._is_present


class PageBudget:
    """A leaky bucket of processor seconds for each client, and one for all. `timer` is monotonic seconds.

    It holds while `is_contended`: without traffic of services, nobody else needs the time.
    """

    def __init__(
        self,
        timer: Callable[[], float],
        *,
        client: Allowance = CLIENT,
        known: Allowance = KNOWN,
        total: Allowance = TOTAL,
        is_contended: Callable[[], bool] = lambda: True,
    ) -> None:
        self._timer = timer
        self._is_contended = is_contended
        self._client, self._known_client = client, known
        self._total = total
        self._total_debt = _NO_DEBT
        self._debts: dict[str, _Debt] = {}
        self._known: dict[str, float] = {}
        self._sweep_at = MAX_CLIENTS

    def __len__(self) -> int:
        return len(self._debts)

    def wait(self, client: str) -> float:
        """Seconds until `client` may use more; 0 for now."""
        allowance = self._allowance(client)
        seconds = self._excess(self._debts.get(client, _NO_DEBT), allowance)
        if allowance is not self._known_client:
            seconds = max(seconds, self._excess(self._total_debt, self._total))
        return seconds if seconds and self._is_contended() else 0.0

    def recognise(self, client: str) -> None:
        """A request of `client` was authenticated: for a while it may use more, and others do not delay it."""
        now = self._timer()
        self._known[client] = now + KNOWN_SECONDS
        if len(self._known) > MAX_CLIENTS:
            self._known = {each: end for each, end in self._known.items() if end > now}

    def charge(self, client: str, seconds: float) -> None:
        """Processor seconds that `client` has used."""
        now = self._timer()
        self._debts[client] = (self._left(self._debts.get(client, _NO_DEBT), self._allowance(client)) + seconds, now)
        self._total_debt = (self._left(self._total_debt, self._total) + seconds, now)
        if len(self._debts) > self._sweep_at:
            self._debts = {each: debt for each, debt in self._debts.items() if self._left(debt, self._client) > 0}
            self._sweep_at = max(MAX_CLIENTS, 2 * len(self._debts))

    def _allowance(self, client: str) -> Allowance:
        return self._known_client if self._known.get(client, 0.0) > self._timer() else self._client

    def _excess(self, debt: _Debt, allowance: Allowance) -> float:
        return max(0.0, self._left(debt, allowance) - allowance.burst) / allowance.share

    def _left(self, debt: _Debt, allowance: Allowance) -> float:
        seconds, at = debt
        return max(0.0, seconds - (self._timer() - at) * allowance.share)
