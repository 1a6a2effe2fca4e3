"""Builds what receives deliveries of webhooks and does their work."""

import asyncio
import time

from resilience.cache.driver import Cache
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.policy import RatePolicy
from routing.database import failed_deliveries
from routing.deliveries.endpoint import Count, WebhookEndpoint
from routing.deliveries.work import Work
from routing.deliveries.worker import DeliveryWorker
from routing.pipeline import Gateway
from routing.realtime.service import Realtime
from routing.webhooks.delivery import Delivery
from routing.webhooks.queue import Queue


class Deliveries:
    """One process's endpoint and worker, and the queue between them. `refusals` limits what one address may forge."""

    def __init__(
        self,
        gateway: Gateway,
        queue: Queue,
        limiter: Limiter,
        cache: Cache,
        realtime: Realtime,
        *,
        refusals: RatePolicy,
        count: Count,
        is_enabled: bool,
    ) -> None:
        self.queue = queue
        self.endpoint = WebhookEndpoint(
            gateway, queue, limiter, refusals=refusals, count=count, clock=time.time, is_enabled=is_enabled
        )
        work = Work(gateway, cache, realtime, gateway.live, count)
        self._worker = DeliveryWorker(queue, work, gateway.live, keep_failed=_keep_failed, count=count)

    def start(self) -> None:
        self._worker.start()

    async def close(self) -> None:
        await self._worker.close()


async def _keep_failed(delivery: Delivery) -> None:
    await asyncio.to_thread(failed_deliveries.store, delivery)
