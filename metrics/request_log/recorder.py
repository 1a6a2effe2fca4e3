"""Notes requests in memory as they end, and stores them in batches."""

import asyncio
import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from metrics.request_log.building import build_record, kind_of
from metrics.request_log.memory import MemoryStore
from metrics.request_log.record import RecordKind, RequestRecord
from metrics.request_log.search import RequestQuery, SearchResult, decoded, encode, search
from metrics.request_log.store import NewRecord, Position, Store
from resilience.outage import StoreUnavailable
from resilience.periodic_flush import PeriodicFlush
from routing.exchange import Exchange
from routing.observability.events import RequestFinished
from routing.router.live import LiveConfiguration
from routing.router.request_log_policy import RequestLogPolicy
from routing.router.table import RouteTable

STORE_SECONDS: Final = 0.5
MAX_PER_SECOND: Final = 50
"""Records of one kind that a worker makes in a second. Requests beyond are counted, and not recorded: a flood of
errors must not slow down the requests that succeed.
"""
MAX_PENDING: Final = 2_000
"""Records that wait in a worker while the store is unavailable: the latest, of some 2 MB."""
NO_SAMPLE: Final = 1_000
"""How many requests are passed over where none is to be sampled, before the configuration is looked at again."""
_UNMATCHED: Final = RequestLogPolicy()
"""The policy for requests that match no service."""


class RequestRecorder(PeriodicFlush):
    """A RequestLog. `clock` is Unix time, `timer` monotonic seconds."""

    def __init__(
        self,
        store: Store,
        live: LiveConfiguration,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(STORE_SECONDS)
        self._store = store
        self._live = live
        self._clock, self._timer, self._chance = clock, timer, chance
        self._table: RouteTable | None = None
        self._share = 0.0
        self._second = self._sampled = 0
        self._made: Counter[RecordKind] = Counter()
        self._omitted = 0
        self._pending: deque[NewRecord] = deque()
        self._storing = asyncio.Lock()

    def next_sample(self, exchange: Exchange | None = None) -> int:
        """A random number, so that a client that sends requests in a regular order cannot avoid being sampled.

        Of more than MAX_PER_SECOND requests in a second, none is sampled, so that logging steps costs little.
        """
        table = self._live.table
        if table is not self._table:
            self._table, self._share = table, _largest_share(table)
        if exchange is not None and self._share > 0:
            self._begin_second()
            self._sampled += 1
            if self._sampled <= MAX_PER_SECOND:
                exchange.log_steps().sampled = True
        if self._share >= 1:
            return 0
        if self._share <= 0:
            return NO_SAMPLE
        return int(math.log(1 - self._chance()) / math.log(1 - self._share))

    def waiting(self, exchange: Exchange) -> None:
        match = exchange.resolution.match
        if (match.policy.request_log if match is not None else _unmatched(exchange)) is not None:
            exchange.log_steps()

    def finished(self, exchange: Exchange, event: RequestFinished) -> None:
        match = exchange.resolution.match
        policy = match.policy.request_log if match is not None else _unmatched(exchange)
        if policy is None:
            return
        log = exchange.step_log
        if log is not None and not log.sampled and _is_unremarkable(event, policy.slow):
            return
        sampled = log is not None and log.sampled and self._chance() * self._share < policy.sample
        kind = kind_of(policy, exchange, event, sampled=sampled)
        if kind is not None and self._is_admitted(kind):
            share = policy.sample if kind is RecordKind.SAMPLED else 1.0
            record = build_record(exchange, event, kind, self._version(exchange), share)
            self._put(NewRecord(kind, record.id, encode(record)))

    async def note(self, record: RequestRecord) -> bool:
        """Record a request that no service received. False if there were too many of its kind in this second."""
        is_admitted = self._is_admitted(record.kind)
        if is_admitted:
            self._put(NewRecord(record.kind, record.id, encode(record)))
        return is_admitted

    async def search(
        self, query: RequestQuery, *, before: Position | None = None, after: Position | None = None, limit: int
    ) -> SearchResult:
        """The latest first. While the store is unavailable, what this worker has not stored."""
        try:
            await self.flush()
            return await search(self._store, query, before=before, after=after, limit=limit)
        except StoreUnavailable:
            found = await search(self._waiting(), query, before=before, after=after, limit=limit)
            return SearchResult(found.records, found.next, is_shared=False)

    async def find(self, identifier: str) -> SearchResult:
        """The latest records of a request id; as for `search`, if the store is unavailable."""
        try:
            await self.flush()
            return SearchResult(list(decoded(await self._store.find(identifier))))
        except StoreUnavailable:
            return SearchResult(list(decoded(await self._waiting().find(identifier))), is_shared=False)

    async def omitted(self) -> int:
        """How many requests all workers have not recorded; this worker's while the store is unavailable."""
        try:
            return await self._store.omitted() + self._omitted
        except StoreUnavailable:
            return self._omitted

    async def flush(self) -> None:
        async with self._storing:
            records, self._pending = self._pending, deque()
            omitted, self._omitted = self._omitted, 0
            if not records and not omitted:
                return
            try:
                await self._store.add(tuple(records), omitted)
            except BaseException:
                self._put_back(records, omitted)
                raise

    def _is_admitted(self, kind: RecordKind) -> bool:
        self._begin_second()
        self._made[kind] += 1
        if self._made[kind] <= MAX_PER_SECOND:
            return True
        self._omitted += 1
        return False

    def _begin_second(self) -> None:
        second = int(self._timer())
        if second != self._second:
            self._second, self._sampled = second, 0
            self._made.clear()

    def _put(self, record: NewRecord) -> None:
        if len(self._pending) >= MAX_PENDING:
            self._pending.popleft()
            self._omitted += 1
        self._pending.append(record)

    def _put_back(self, earlier: deque[NewRecord], omitted: int) -> None:
        later, self._pending = self._pending, earlier
        self._omitted += omitted
        for record in later:
            self._put(record)

    def _waiting(self) -> Store:
        store = MemoryStore(self._clock)
        store.put(self._pending)
        return store

    def _version(self, exchange: Exchange) -> int:
        """The version of the route table, if it is still the one that decided."""
        table, match = self._live.table, exchange.resolution.match
        is_same = match is None or table.services.get(match.service.name) is match.service
        return table.version if is_same else 0


def _unmatched(exchange: Exchange) -> RequestLogPolicy | None:
    """The policy for a request that no route matches: the service's, if it is for one."""
    service = exchange.resolution.service
    return _UNMATCHED if service is None else service.policy.request_log


def _is_unremarkable(event: RequestFinished, slow: float | None) -> bool:
    """Whether a request that was not sampled need not be judged in detail: most of those that had to wait."""
    is_fast = slow is None or event.duration <= slow
    return is_fast and event.status < 400 and not (event.aborted or event.call or event.outcome)


def _largest_share(table: RouteTable) -> float:
    """The largest share of any route: so many requests are sampled, of which each route's own share is recorded."""
    policies = [service.policy for service in table.services.values()]
    policies += [route.policy for service in table.services.values() for route in service.routes]
    shares = [policy.request_log.sample for policy in policies if policy.request_log is not None]
    return max(shares, default=_UNMATCHED.sample)
