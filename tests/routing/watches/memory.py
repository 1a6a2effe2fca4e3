"""A WatchStore in memory, shared by several watchers."""

from collections.abc import Sequence

from routing.watches.record import Wanted, WatchRecord
from routing.watches.store import LEASE_SECONDS, Account, StoreFailed


class MemoryWatches:
    """`connected` are the accounts; while `is_away`, everything fails."""

    def __init__(self) -> None:
        self.rows: dict[int, WatchRecord] = {}
        self.claims: dict[int, tuple[str, float]] = {}
        self.connected: list[Account] = []
        self.is_away = False
        self.saves_left: int | None = None
        """How many more records can be saved."""

    async def load(self) -> list[WatchRecord]:
        self._check()
        return list(self.rows.values())

    async def accounts(self, services: Sequence[str]) -> list[Account]:
        return [account for account in self.connected if account.service in services]

    async def add(self, wanted: Sequence[Wanted]) -> None:
        self._check()
        for each in wanted:
            pk = len(self.rows) + 1
            self.rows[pk] = WatchRecord(
                pk=pk,
                webhook=each.webhook,
                subject=each.subject,
                resource=each.resource,
                service=each.service,
                tenant=each.tenant,
                digest=each.digest,
            )

    async def claim(self, pk: int, owner: str, now: float) -> WatchRecord | None:
        self._check()
        holder, until = self.claims.get(pk, ("", 0.0))
        if holder not in ("", owner) and now < until:
            return None
        self.claims[pk] = owner, now + LEASE_SECONDS
        return self.rows.get(pk)

    async def keep(self, pk: int, owner: str, now: float) -> None:
        if self.claims.get(pk, ("", 0))[0] == owner:
            self.claims[pk] = owner, now + LEASE_SECONDS

    async def save(self, record: WatchRecord, owner: str) -> bool:
        self._check()
        if self.saves_left is not None:
            if self.saves_left <= 0:
                raise StoreFailed("full")
            self.saves_left -= 1
        if self.claims.get(record.pk, ("", 0))[0] != owner:
            return False
        self.rows[record.pk] = record
        return True

    async def release(self, pk: int, owner: str) -> None:
        self._check()
        if self.claims.get(pk, ("", 0))[0] == owner:
            del self.claims[pk]

    async def delete(self, pk: int, owner: str) -> None:
        self.rows.pop(pk, None)

    def _check(self) -> None:
        if self.is_away:
            raise StoreFailed("away")
