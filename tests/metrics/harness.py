"""A complete gateway in memory, with its metrics, on its own event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.test import Client

from metrics.counting.aggregates import AggregateWriter
from metrics.counting.flusher import Flusher
from metrics.counting.memory import MemoryStore as CountsMemory
from metrics.counting.observer import MetricsObserver
from metrics.failures.recorder import FailureRecorder
from metrics.failures.store import MemoryStore as FailureMemory
from metrics.request_log.memory import MemoryStore as RequestLogMemory
from metrics.request_log.recorder import RequestRecorder
from metrics.usage.ledger import UsageLedger
from metrics.usage.meter import UsageMeter
from metrics.usage.recorder import UsageRecorder
from metrics.usage.store import NoBackup
from resilience.breaker.driver import Breakers
from resilience.breaker.memory import MemoryStore as BreakerMemory
from resilience.cache.driver import Cache
from resilience.cache.hit_counter import HitCounter
from resilience.cache.memory import MemoryStore as CacheMemory
from resilience.cache.policy import CachePolicy, Scope
from resilience.holdoff.driver import HoldOffs
from resilience.holdoff.memory import MemoryStore as HoldOffMemory
from resilience.outbound.driver import OutboundLimiter
from resilience.quotas.driver import QuotaBook
from resilience.quotas.store import MemoryStore as QuotaMemory
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as RateMemory
from resilience.ratelimit.policy import RatePolicy
from resilience.usage.driver import Quotas
from resilience.usage.store import MemoryStore as UsageMemory
from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.authentication.authenticator import Authenticator
from routing.authentication.key_usage import KeyUsage
from routing.backend.client import Backend
from routing.balancing.balancer import Balancers
from routing.gateway_rules import GatewayRules
from routing.observability.events import Observers
from routing.pipeline import Gateway
from routing.router.gateway_cookies import GatewayCookies
from routing.router.live import LiveConfiguration
from routing.router.policy import RoutePolicy, Timeout
from routing.router.table import RoutePattern, RouteTable, Service
from routing.steps.backend_limits import BackendLimits
from routing.steps.cache.steps import CacheDependencies
from routing.steps.calls import Calls
from routing.warming import Warmer
from routing.webhooks.memory import MemoryQueue
from tests.clock import FakeClock
from tests.metrics.events import NOW
from tests.origin import Script, ScriptedOrigin
from tests.resilience.usage.world import FakeLedger

T = TypeVar("T")

QUICK = Timeout(connect=2, read=5, total=10)
SHARED = RoutePolicy(
    timeout=QUICK, cache=CachePolicy(ttl=600, scope=Scope.SHARED, tags=("contacts",)), cost_per_call=0.5
)

SCOPES: dict[str, set[str]] = {
    "every": {"*"},
    "both": {"metrics:read", "metrics:write"},
    "read": {"metrics:read"},
    "write": {"metrics:write"},
    "none": set(),
    "config": {"config:read", "config:write"},
    "config-read": {"config:read"},
    "config-write": {"config:write"},
    "config-crm": {"config:read", "config:write", "crm"},
    "config-every": {"config:read", "config:write", "*"},
}
"""Scopes of the harness's API keys, by the key's name."""


def ok(body: bytes = b'{"a":1}') -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: public\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class NoAlerts:
    """No alert has a recipient."""

    async def test(self, name: str | None = None) -> list[Any]:
        return []


@dataclass
class Harness:
    """The gateway's components, and API keys by the scopes they have."""

    clock: FakeClock
    gateway: Gateway
    live: LiveConfiguration
    cache: Cache
    breakers: Breakers
    hold_offs: HoldOffs
    quotas: QuotaBook
    backend: Backend
    flusher: Flusher
    warmer: Warmer
    keys: dict[str, str]
    loop: asyncio.AbstractEventLoop
    consumer_quotas: Quotas = field(default_factory=lambda: Quotas(UsageMemory(), FakeLedger(), clock=FakeClock(NOW)))
    balancers: Balancers = field(default_factory=Balancers)
    usage: Any = None
    health: Any = None
    reloader: Any = None
    limits: Any = None
    watcher: Any = field(default_factory=lambda: SimpleNamespace(wake=lambda: None))
    credentials: Any = None
    failures: FailureRecorder = field(default_factory=lambda: FailureRecorder(FailureMemory()))
    request_log: Any = None
    redis: Any = None
    alerts: Any = field(default_factory=NoAlerts)
    deliveries: Any = field(default_factory=lambda: SimpleNamespace(queue=MemoryQueue(FakeClock(NOW))))
    counters: dict[str, Callable[[], int]] = field(default_factory=dict)
    gauges: dict[str, Callable[[], int]] = field(default_factory=dict)
    origins: list[ScriptedOrigin] = field(default_factory=list)

    @property
    def key_usage(self) -> KeyUsage:
        return KeyUsage(self.flusher.now)

    @property
    def observer(self) -> MetricsObserver:
        return self.flusher.observer

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def serve(self, *scripts: Script, name: str = "crm", policy: RoutePolicy = SHARED) -> ScriptedOrigin:
        """Put a scripted backend behind service `name`."""
        origin = self.run(ScriptedOrigin(*scripts).__aenter__())
        self.origins.append(origin)
        self.add(Service(name, (origin.target,), policy=policy, routes=(RoutePattern("/contacts/{id}", (), policy),)))
        return origin

    def add(self, service: Service) -> None:
        self.live.table = RouteTable([*self.live.table.services.values(), service])

    def request(self, path: str, method: str = "get") -> int:
        """Send a request with an API key through the gateway; returns the status."""
        response = getattr(Client(), method)(path, headers={"X-API-Key": self.keys["every"]})
        b"".join(response.streaming_content) if response.streaming else response.content
        return int(response.status_code)

    async def close(self) -> None:
        await self.backend.close()
        for origin in self.origins:
            await origin.__aexit__()


async def make_harness(loop: asyncio.AbstractEventLoop) -> Harness:
    clock, live, backend = FakeClock(NOW), LiveConfiguration(), Backend()
    keys = _install_keys(live)
    failures = FailureRecorder(FailureMemory())
    request_log = RequestRecorder(RequestLogMemory(clock), live, clock=clock)
    observer = MetricsObserver(clock, failures.service_failed)
    observers = Observers([observer, failures])
    breakers = Breakers(BreakerMemory(), clock=clock, on_change=observers.circuit_changed)
    hold_offs = HoldOffs(HoldOffMemory(), clock=clock, on_change=observers.hold_off_changed)
    quotas = QuotaBook(QuotaMemory())
    limits = BackendLimits(hold_offs, OutboundLimiter(Limiter(RateMemory(), clock=clock)), quotas)
    balancers = Balancers(emit=observers.backend_event)
    cache = Cache(CacheMemory(clock))
    hit_counter = HitCounter()
    timezone = ZoneInfo("UTC")
    meter = UsageMeter(timezone, clock=clock)
    gateway = Gateway(
        rules=GatewayRules(rate=RatePolicy(10_000, 60)),
        live=live,
        limiter=Limiter(RateMemory(), clock=clock),
        authenticator=Authenticator(lambda: live.keys),
        cache=CacheDependencies(cache, GatewayCookies(), hit_counter=hit_counter),
        calls=Calls(
            backend, breakers, cookies=GatewayCookies(), max_body_bytes=1_000, balancers=balancers, limits=limits
        ),
        observers=observers,
        clock=clock,
        meter=meter,
        request_log=request_log,
    )
    counters: dict[str, Callable[[], int]] = {}
    gauges: dict[str, Callable[[], int]] = {}
    flusher = Flusher(observer, CountsMemory(), AggregateWriter(), counters=counters, gauges=gauges, clock=clock)
    return Harness(
        clock,
        gateway,
        live,
        cache,
        breakers,
        hold_offs,
        quotas,
        backend,
        flusher,
        Warmer(gateway, hit_counter),
        keys,
        loop,
        reloader=SimpleNamespace(status=SimpleNamespace(version=7)),
        counters=counters,
        gauges=gauges,
        limits=limits,
        failures=failures,
        request_log=request_log,
        balancers=balancers,
        usage=UsageRecorder(meter, NoBackup(), UsageLedger(), timezone=timezone, clock=clock),
    )


def _install_keys(live: LiveConfiguration) -> dict[str, str]:
    """One API key for each name in SCOPES."""
    generated = {name: generate_api_key() for name in SCOPES}
    live.keys = ApiKeys(
        KeyRecord(prefix=key.prefix, digest=key.digest, name=name, scopes=frozenset(SCOPES[name]))
        for name, key in generated.items()
    )
    return {name: key.key for name, key in generated.items()}
