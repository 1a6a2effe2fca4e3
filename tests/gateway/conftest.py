"""A complete gateway in memory with a scripted backend, reached through each of its three entry points."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from resilience.breaker.driver import Breakers
from resilience.breaker.memory import MemoryStore as BreakerMemory
from resilience.breaker.store import Store as BreakerStore
from resilience.cache.driver import Cache
from resilience.cache.flights import Flight, FlightEnd, Flights
from resilience.cache.hit_counter import HitCounter
from resilience.cache.memory import MemoryStore as CacheMemory
from resilience.cache.redis_leases import RedisLeases
from resilience.cache.tiers import TieredStore
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as RateMemory
from resilience.ratelimit.policy import RatePolicy
from resilience.redis import RedisLink
from resilience.usage.counter import Counter
from resilience.usage.driver import Quotas
from resilience.usage.meter import Meter
from resilience.usage.slots import Slots
from resilience.usage.store import MemoryStore as UsageMemory
from routing import runtime
from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.authentication.authenticator import Authenticator
from routing.backend.client import Backend
from routing.consumers.subscription import Subscription
from routing.credentials.cipher import Cipher
from routing.credentials.driver import Credentials
from routing.credentials.memory import MemoryStore
from routing.credentials.redis import RedisStore
from routing.credentials.refresher import Refresher
from routing.credentials.token_endpoint import TokenEndpoint
from routing.credentials.vault import MemoryVault
from routing.gateway_rules import GatewayRules
from routing.observability.events import BackendEvent, Observer, Observers, Refetched, RequestFinished
from routing.pipeline import Gateway
from routing.router.gateway_cookies import GatewayCookies
from routing.router.live import LiveConfiguration
from routing.router.policy import RoutePolicy, Timeout
from routing.router.table import RouteTable, Service
from routing.steps.cache.steps import CacheDependencies
from routing.steps.calls import Calls
from routing.steps.plan import PlanLimits
from tests.clock import FakeClock
from tests.gateway.entry_points import (
    AsgiEntryPoint,
    DjangoEntryPoint,
    EntryPoint,
    Http1EntryPoint,
    ReceivedResponse,
    install,
    send_request,
)
from tests.origin import Script, ScriptedOrigin
from tests.resilience.cache.entries import until
from tests.resilience.usage.world import FakeLedger

COOKIES = GatewayCookies(frozenset({b"sessionid", b"csrftoken"}))


class RecordingObserver(Observer):
    """Records the events that it receives."""

    def __init__(self) -> None:
        self.requests: list[RequestFinished] = []
        self.circuits: list[tuple[str, str, str]] = []
        self.events: list[BackendEvent] = []
        self.quotas: list[tuple[str, int]] = []
        self.failures: list[tuple[int, RequestFinished]] = []
        self.refetches: list[Refetched] = []

    def finished(self, event: RequestFinished) -> None:
        self.requests.append(event)

    def failed(self, subscription: Subscription, event: RequestFinished) -> None:
        self.failures.append((subscription.consumer_id, event))

    def circuit_changed(self, service: str, before: str, after: str, reason: str) -> None:
        self.circuits.append((service, before, after))

    def backend_event(self, event: BackendEvent) -> None:
        self.events.append(event)

    def refetched(self, event: Refetched) -> None:
        self.refetches.append(event)

    def note_quota(self, meter: Meter, percent: int, _counter: Counter) -> None:
        self.quotas.append((meter.key, percent))


@dataclass
class World:
    """A gateway with its client for backends, two callers, an observer and a clock."""

    clock: FakeClock
    live: LiveConfiguration
    gateway: Gateway
    entry_point: EntryPoint
    backend: Backend
    observer: RecordingObserver
    cache: Cache
    hit_counter: HitCounter
    breakers: Breakers
    credentials: Credentials
    vault: MemoryVault
    origins: list[ScriptedOrigin] = field(default_factory=list)
    key: str = ""
    other_key: str = ""

    async def request(self, method: str, path: str | bytes, headers: Any = (), **more: Any) -> ReceivedResponse:
        """Send a request with the first caller's key, or with `key`."""
        key = more.pop("key", self.key)
        credential = [("X-API-Key", key)] if key else []
        return await send_request(self.entry_point, method, path, [*credential, *headers], **more)

    async def serve(
        self,
        *scripts: Script,
        name: str = "crm",
        policy: RoutePolicy | None = None,
        **more: Any,
    ) -> ScriptedOrigin:
        """Add the service `name` with a scripted backend."""
        origin = await ScriptedOrigin(*scripts).__aenter__()
        self.origins.append(origin)
        self.add(Service(name, (origin.target,), policy=policy or RoutePolicy(timeout=QUICK), **more))
        return origin

    async def close(self) -> None:
        await self.gateway.close()
        await self.credentials.close()
        await self.backend.close()
        for origin in self.origins:
            await origin.__aexit__()

    def add(self, service: Service) -> None:
        self.live.table = RouteTable([*self.live.table.services.values(), service])


QUICK = Timeout(connect=2, read=5, total=10)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many requests have begun to wait for the fetch of another one."""
    number, wait = 0, Flight.wait

    async def counted(flight: Flight) -> FlightEnd:
        nonlocal number
        number += 1
        return await wait(flight)

    monkeypatch.setattr(Flight, "wait", counted)
    return lambda: number


@pytest.fixture(params=["http1", "asgi", "django"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    made = make_world(request.param)
    install(made.gateway)
    await runtime.current().start()
    yield made
    await runtime.current().stop()
    await made.close()


@pytest.fixture(params=["memory", "tiers"])
async def cache_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    link = RedisLink(request.getfixturevalue("redis_url")) if request.param == "tiers" else None
    made = make_world("asgi", link=link)
    if link:
        await link.start()
        await until(lambda: link.feed.alive)
    yield made
    await made.close()
    if link:
        await link.close()


def make_world(
    entry_point: str,
    rules: GatewayRules | None = None,
    *,
    link: RedisLink | None = None,
    circuits: BreakerStore | None = None,
    clock: FakeClock | None = None,
    kind: Callable[..., Gateway] = Gateway,
    passes_interim: bool = True,
) -> World:
    """With `link`, which the caller starts and closes, the cache and its leases are in Redis."""
    live, backend, observer = LiveConfiguration(), Backend(), RecordingObserver()
    clock = clock or FakeClock()
    ours, theirs = generate_api_key(), generate_api_key()
    live.keys = ApiKeys(
        [
            KeyRecord(prefix=ours.prefix, digest=ours.digest, name="ours", scopes=frozenset({"*", "debug"})),
            KeyRecord(prefix=theirs.prefix, digest=theirs.digest, name="theirs"),
        ]
    )
    observers = Observers([observer])
    breakers = Breakers(circuits or BreakerMemory(), clock=clock, on_change=observers.circuit_changed)
    cache = Cache(TieredStore(link) if link else CacheMemory(clock))
    flights = Flights(RedisLeases(link) if link else None, clock=clock)
    hit_counter = HitCounter(link)
    cipher, vault = Cipher((), "secret"), MemoryVault()
    refresher = Refresher(TokenEndpoint(backend, clock, limit=2.0), vault, cipher, secret=b"", clock=clock)
    store = RedisStore(link) if link else MemoryStore(clock)
    credentials = Credentials(store, refresher, cipher, secret=b"", emit=observers.backend_event, clock=clock)
    limiter = Limiter(RateMemory(), clock=clock)
    quotas = Quotas(UsageMemory(), FakeLedger(), clock=clock, timer=clock, notify=observer.note_quota)
    gateway = kind(
        rules=rules or GatewayRules(rate=RatePolicy(1_000, 60), max_body_bytes=1_000),
        live=live,
        limiter=limiter,
        plan_limits=PlanLimits(limiter, quotas, Slots(), clock=clock, timer=clock),
        authenticator=Authenticator(lambda: live.keys),
        cache=CacheDependencies(cache, COOKIES, flights=flights, hit_counter=hit_counter),
        credentials=credentials,
        calls=Calls(
            backend,
            breakers,
            cookies=COOKIES,
            max_body_bytes=1_000,
            passes_interim=passes_interim,
            emit=observers.backend_event,
        ),
        observers=observers,
        clock=clock,
    )
    entry_points: dict[str, Callable[[Gateway], EntryPoint]] = {
        "http1": Http1EntryPoint,
        "asgi": AsgiEntryPoint,
        "django": DjangoEntryPoint,
    }
    return World(
        clock,
        live,
        gateway,
        entry_points[entry_point](gateway),
        backend,
        observer,
        cache,
        hit_counter,
        breakers,
        credentials,
        vault,
        key=ours.key,
        other_key=theirs.key,
    )
