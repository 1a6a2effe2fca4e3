"""Access to this process's gateway from Django's threads: to read its state and to operate it."""

from collections.abc import Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar, cast
from zoneinfo import ZoneInfo

from metrics.counting.flusher import Flusher
from metrics.failures.recorder import FailureRecorder
from metrics.request_log.recorder import RequestRecorder
from resilience.breaker.driver import Breakers
from resilience.cache.driver import Cache
from resilience.holdoff.driver import HoldOffs
from resilience.quotas.driver import QuotaBook
from resilience.redis import RedisLink
from resilience.usage.driver import Quotas
from routing import runtime
from routing.authentication.key_usage import KeyUsage
from routing.backend.client import Backend
from routing.balancing.balancer import Balancers
from routing.configuration.reload import Reloader
from routing.credentials.driver import Credentials
from routing.steps.backend_limits import BackendLimits
from routing.watches.watcher import Watcher
from routing.webhooks.queue import Queue

T = TypeVar("T")


class Deliveries(Protocol):
    """gateway_project.parts.deliveries.Deliveries."""

    @property
    def queue(self) -> Queue: ...


class UsageReader(Protocol):
    """metrics.usage.recorder.UsageRecorder."""

    timezone: ZoneInfo

    async def collect(self) -> None: ...


class RecipientResult(Protocol):
    """metrics.alerts.notifier.RecipientResult."""

    @property
    def recipient(self) -> str: ...

    @property
    def failure(self) -> str: ...


class Alerts(Protocol):
    """gateway_project.parts.alerts.Alerts."""

    async def test(self, name: str | None = None) -> Sequence[RecipientResult]: ...


class OperableGateway(runtime.Components, Protocol):
    cache: Cache
    breakers: Breakers
    balancers: Balancers
    backend: Backend
    hold_offs: HoldOffs
    quotas: QuotaBook
    reloader: Reloader
    flusher: Flusher
    watcher: Watcher
    key_usage: KeyUsage
    failures: FailureRecorder
    request_log: RequestRecorder

    @property
    def redis(self) -> RedisLink | None: ...

    @property
    def alerts(self) -> Alerts: ...

    @property
    def usage(self) -> UsageReader: ...

    @property
    def consumer_quotas(self) -> Quotas: ...

    @property
    def credentials(self) -> Credentials: ...

    @property
    def limits(self) -> BackendLimits: ...

    @property
    def deliveries(self) -> Deliveries: ...


def running() -> OperableGateway:
    """This process's gateway; starts it if it is not running."""
    return cast(OperableGateway, runtime.current().opened())


def run_on_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run `coroutine` on the gateway's event loop and wait for it. Deadlocks if called from the loop itself."""
    return runtime.current().wait_for(coroutine)


def without_turn() -> AbstractContextManager[None]:
    """Compute for long without keeping Django's other threads waiting (ADR 19)."""
    return runtime.current().turn.released()
