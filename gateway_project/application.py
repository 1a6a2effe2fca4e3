"""One process's gateway as it runs, and how it ends."""

import asyncio
from dataclasses import dataclass

from gateway_project.parts.alerts import Alerts
from gateway_project.parts.components import Infrastructure, Resilience
from gateway_project.parts.deliveries import Deliveries
from gateway_project.parts.usage import Usage
from gateway_project.postgresql.query_limit import QUERY_LIMIT
from metrics.counting.flusher import Flusher
from metrics.failures.recorder import FailureRecorder
from metrics.request_log.recorder import RequestRecorder
from metrics.retention.keeper import RetentionKeeper
from resilience.breaker.driver import Breakers
from resilience.cache.driver import Cache
from resilience.cache.objects import ObjectCaches
from resilience.holdoff.driver import HoldOffs
from resilience.quotas.driver import QuotaBook
from resilience.redis import RedisLink
from resilience.task_set import TaskSet
from resilience.usage.driver import Quotas
from routing import signals
from routing.authentication.key_upkeep import KeyUpkeep
from routing.authentication.key_usage import KeyUsage
from routing.backend.client import Backend
from routing.balancing.balancer import Balancers
from routing.configuration.reload import Reloader
from routing.credentials.connections import Connections
from routing.credentials.driver import Credentials
from routing.deliveries.endpoint import WebhookEndpoint
from routing.observability.health import HealthPages
from routing.pipeline import Gateway
from routing.realtime.control import Control
from routing.realtime.http import EventsEndpoint
from routing.realtime.proxy import SocketProxy
from routing.realtime.service import Realtime
from routing.steps.backend_limits import BackendLimits
from routing.warming import Warmer
from routing.watches.watcher import Watcher


@dataclass(slots=True)
class Application:
    """One process's gateway with everything it uses."""

    gateway: Gateway
    health: HealthPages
    cache: Cache
    objects: ObjectCaches
    warmer: Warmer
    reloader: Reloader
    flusher: Flusher
    usage: Usage
    realtime: Realtime
    events: EventsEndpoint
    deliveries: Deliveries
    watcher: Watcher
    alerts: Alerts
    proxy: SocketProxy
    key_usage: KeyUsage
    failures: FailureRecorder
    request_log: RequestRecorder
    _key_upkeep: KeyUpkeep
    _retention: RetentionKeeper
    _control: Control
    _infrastructure: Infrastructure
    _resilience: Resilience
    _tasks: TaskSet

    @property
    def breakers(self) -> Breakers:
        return self._resilience.breakers

    @property
    def balancers(self) -> Balancers:
        return self._resilience.targets

    @property
    def redis(self) -> RedisLink | None:
        return self._infrastructure.link

    @property
    def backend(self) -> Backend:
        return self._infrastructure.backend

    @property
    def hold_offs(self) -> HoldOffs:
        return self._resilience.hold_offs

    @property
    def quotas(self) -> QuotaBook:
        return self._resilience.quotas

    @property
    def connections(self) -> Connections:
        return self._resilience.connections

    @property
    def consumer_quotas(self) -> Quotas:
        return self._resilience.consumers.quotas

    @property
    def credentials(self) -> Credentials:
        return self._resilience.credentials

    @property
    def limits(self) -> BackendLimits:
        return self._resilience.limits

    @property
    def webhooks(self) -> WebhookEndpoint:
        return self.deliveries.endpoint

    def begin_drain(self) -> None:
        self.health.begin_drain()

    def begin_shutdown(self) -> None:
        self.realtime.begin_shutdown()
        self.proxy.begin_shutdown()

    async def close(self) -> None:
        """Stop the background tasks, then close what requests use, in the reverse order of dependence."""
        QUERY_LIMIT.end_within()
        await self._control.close()
        await self.deliveries.close()
        await self.watcher.close()
        await self.alerts.close()
        await self.realtime.close()
        signals.configuration_changed.disconnect(dispatch_uid=signals.ANNOUNCER)
        await self._tasks.cancel_and_wait()
        self._retention.close()
        await self._key_upkeep.close()
        await self.gateway.close()
        await self._infrastructure.tokens.close()
        await self._resilience.credentials.close()
        await self._resilience.idempotency.close()
        await self._resilience.outbound.close()
        await self._resilience.limiter.close()
        await self._resilience.consumers.close()
        await self.hold_offs.close()
        await self.breakers.close()
        await self.usage.end_deliveries()
        await self._infrastructure.backend.close()
        await self.flusher.close()
        await self.usage.close()
        await self.failures.close()
        await self.request_log.close()
        if self._infrastructure.link:
            await self._infrastructure.link.close()
        if self._infrastructure.tracer:
            await asyncio.to_thread(self._infrastructure.tracer.close)
        if self._infrastructure.log:
            self._infrastructure.log.flush()
