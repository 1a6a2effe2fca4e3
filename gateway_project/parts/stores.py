"""Chooses between memory and Redis, for all stores at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from metrics.counting import store as counts
from metrics.counting.memory import MemoryStore as CountsMemory
from metrics.counting.redis import RedisStore as CountsRedis
from metrics.failures import store as failures
from metrics.failures.redis import RedisStore as FailuresRedis
from metrics.request_log.memory import MemoryStore as RequestLogMemory
from metrics.request_log.redis import RedisStore as RequestLogRedis
from metrics.request_log.store import Store as RequestLogStore
from metrics.usage.redis import RedisBackup
from metrics.usage.store import Backup, NoBackup
from resilience.breaker import store as breaker
from resilience.breaker.memory import MemoryStore as BreakerMemory
from resilience.breaker.redis import RedisStore as BreakerRedis
from resilience.cache.memory import MemoryStore as CacheMemory
from resilience.cache.redis_leases import RedisLeases
from resilience.cache.store import NearStore
from resilience.cache.tiers import TieredStore
from resilience.holdoff import store as holdoff
from resilience.holdoff.memory import MemoryStore as HoldOffMemory
from resilience.holdoff.redis import RedisStore as HoldOffRedis
from resilience.quotas import store as quotas
from resilience.ratelimit import store as ratelimit
from resilience.ratelimit.memory import MemoryStore as RateMemory
from resilience.ratelimit.redis import RedisStore as RateRedis
from resilience.redis import RedisLink
from resilience.usage import store as usage
from resilience.usage.redis import RedisStore as UsageRedis
from routing.authentication.signatures.nonces import MemoryNonces, Nonces, RedisNonces
from routing.balancing import store as balancing
from routing.balancing.memory import MemoryStore as TargetsMemory
from routing.balancing.redis import RedisStore as TargetsRedis
from routing.credentials import store as credentials
from routing.credentials.memory import MemoryStore as CredentialsMemory
from routing.credentials.redis import RedisStore as CredentialsRedis
from routing.idempotency import store as idempotency
from routing.idempotency.memory import MemoryStore as IdempotencyMemory
from routing.idempotency.redis import RedisStore as IdempotencyRedis
from routing.realtime.log import Log, MemoryLog
from routing.realtime.redis import RedisLog
from routing.webhooks import queue
from routing.webhooks.memory import MemoryQueue
from routing.webhooks.redis import RedisQueue


@dataclass(frozen=True, slots=True)
class Stores:
    """A gateway's stores, by purpose. Created before the link starts, because some subscribe to its feed."""

    circuits: breaker.Store
    hold_offs: holdoff.Store
    quotas: quotas.Store
    rates: ratelimit.Store
    responses: NearStore
    leases: RedisLeases | None
    targets: balancing.Store
    writes: idempotency.Store
    counts: counts.Store
    events: Log
    deliveries: queue.Queue
    credentials: credentials.Store
    usage: usage.Store
    metering: Backup
    failures: failures.Store
    request_log: RequestLogStore
    nonces: Nonces

    @property
    def totals(self) -> dict[str, Callable[[], int]]:
        """Counters that the stores keep themselves, by field name (metrics/counting/counts.py)."""
        responses = self.responses
        if not isinstance(responses, TieredStore):
            return {}
        return {
            "lost|get": lambda: responses.lost_gets,
            "lost|put": lambda: responses.lost_puts,
            "lost|entry": lambda: responses.lost_entries,
        }

    @classmethod
    def over(cls, link: RedisLink | None) -> Self:
        """Stores shared through `link`; in the process's memory if it is None."""
        return cls._in_memory() if link is None else cls._shared(link)

    @classmethod
    def _in_memory(cls) -> Self:
        return cls(
            circuits=BreakerMemory(),
            hold_offs=HoldOffMemory(),
            quotas=quotas.MemoryStore(),
            rates=RateMemory(),
            responses=CacheMemory(time.time),
            leases=None,
            targets=TargetsMemory(),
            writes=IdempotencyMemory(time.time),
            counts=CountsMemory(),
            events=MemoryLog(time.time),
            deliveries=MemoryQueue(time.time),
            credentials=CredentialsMemory(time.time),
            usage=usage.MemoryStore(),
            metering=NoBackup(),
            failures=failures.MemoryStore(),
            request_log=RequestLogMemory(),
            nonces=MemoryNonces(time.time),
        )

    @classmethod
    def _shared(cls, link: RedisLink) -> Self:
        return cls(
            circuits=BreakerRedis(link),
            hold_offs=HoldOffRedis(link),
            quotas=quotas.RedisStore(link),
            rates=RateRedis(link),
            responses=TieredStore(link),
            leases=RedisLeases(link),
            targets=TargetsRedis(link),
            writes=IdempotencyRedis(link),
            counts=CountsRedis(link),
            events=RedisLog(link),
            deliveries=RedisQueue(link),
            credentials=CredentialsRedis(link),
            usage=UsageRedis(link),
            metering=RedisBackup(link),
            failures=FailuresRedis(link),
            request_log=RequestLogRedis(link),
            nonces=RedisNonces(link),
        )
