"""The quotas and the slots of consumers, and what is done for them every second."""

import time

from gateway_project.config import Config
from resilience.redis import RedisLink
from resilience.usage.counter import Counter
from resilience.usage.driver import Quotas
from resilience.usage.meter import Meter
from resilience.usage.slots import Slots
from resilience.usage.store import Store
from routing.database.quota_ledger import QuotaLedger
from routing.observability.events import Observers, QuotaEvent


class ConsumerLimits:
    def __init__(self, config: Config, store: Store, link: RedisLink | None, observers: Observers) -> None:
        self._observers = observers
        self._ledger = QuotaLedger()
        self.quotas = Quotas(store, self._ledger, clock=time.time, share=config.server.workers, notify=self._notify)
        self.slots = Slots(link, share=config.server.workers)

    async def refresh(self) -> None:
        await self.quotas.flush()
        await self.slots.renew()

    async def close(self) -> None:
        await self.quotas.close()
        await self.slots.close()
        self._ledger.close()

    def _notify(self, meter: Meter, percent: int, counter: Counter) -> None:
        limit = meter.policy.amount + counter.extra
        self._observers.quota_reached(QuotaEvent(meter.key, percent, counter.used, limit, counter.ends))
