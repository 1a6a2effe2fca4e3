"""The composition root: the only module that puts the parts together, and the only one that owns the clock."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from django.conf import settings

from gateway_project import background
from gateway_project.checks import health_checks
from gateway_project.config import Config
from gateway_project.stores import Stores
from metrics.counting.aggregates import AggregateWriter
from metrics.counting.flusher import Flusher
from metrics.counting.observer import MetricsObserver
from resilience.breaker.driver import Breakers
from resilience.cache.driver import Cache
from resilience.cache.flights import Flights
from resilience.cache.heat import HitCounter
from resilience.cache.service import ObjectCaches
from resilience.cache.store import holds
from resilience.ratelimit.driver import Limiter
from resilience.redis import RedisLink
from resilience.task_set import TaskSet
from routing import runtime, signals
from routing.authentication.api_keys import ApiKeys
from routing.authentication.authenticator import Authenticator
from routing.backend.client import Backend
from routing.balancing.balancer import Balancers
from routing.balancing.health_checks import HealthChecker
from routing.configuration.reload import Reloader
from routing.database import loader
from routing.idempotency.driver import Idempotency
from routing.observability.access_log import AccessLog
from routing.observability.event_log import EventLog
from routing.observability.events import Observer, Observers
from routing.observability.health import HealthPages
from routing.pipeline import Gateway, GatewayRules
from routing.realtime.control import Control
from routing.realtime.http import EventsEndpoint
from routing.realtime.proxy import SocketProxy
from routing.realtime.service import Realtime
from routing.router.live import LiveConfiguration, LoadedConfiguration
from routing.router.table import Service
from routing.steps.calls import Calls
from routing.tracing import TracedGateway
from routing.warming import Warmer

if TYPE_CHECKING:
    from metrics.tracing import SpanSender
    from routing.authentication.firebase import FirebaseVerifier

LOOK_SECONDS: Final = 0.5
"""How often a worker looks whether the configuration moved: half of the second it may take."""


class Foundation:
    """What every other part is told by or stands on."""

    def __init__(self, config: Config) -> None:
        self.link = RedisLink(settings.REDIS_URL) if settings.REDIS_URL else None
        self.stores = Stores.over(self.link)
        self.live = LiveConfiguration()
        self.backend = Backend()
        self.tokens = _firebase(config)
        self.authenticator = Authenticator(lambda: self.live.keys, self.tokens)
        self.log = AccessLog(config.log_format) if config.access_log else None
        self.counting = MetricsObserver()
        self.realtime = Realtime(
            self.stores.events,
            self.live,
            self.authenticator,
            origins=config.cors_origins,
            is_cached=partial(holds, self.stores.answers),
        )
        watching: list[Observer] = [self.realtime, self.counting, EventLog()]
        self.observers = Observers([self.log, *watching] if self.log else watching)
        self.tracer = _tracer(config)
        self.own_cookies = frozenset({settings.SESSION_COOKIE_NAME.encode(), settings.CSRF_COOKIE_NAME.encode()})


class Resilience:
    """What guards the calls: circuits, limits, targets, answers kept and writes remembered."""

    def __init__(self, config: Config, base: Foundation) -> None:
        stores, observers = base.stores, base.observers
        self.breakers = Breakers(stores.circuits, clock=time.time, on_change=observers.circuit_changed)
        self.limiter = Limiter(stores.rates, clock=time.time, share=config.workers)
        self.targets = Balancers(emit=observers.backend_event)
        self.idempotency = Idempotency(stores.writes, own_cookies=base.own_cookies, emit=observers.backend_event)
        self.cache = Cache(stores.answers)
        self.heat = HitCounter(base.link)
        stores.answers.listeners.append(base.realtime.invalidated)
        self.flights = Flights(stores.leases, clock=time.time)
        self.calls = Calls(
            base.backend,
            self.breakers,
            own_cookies=base.own_cookies,
            max_body_bytes=config.max_body_bytes,
            balancers=self.targets,
            emit=observers.backend_event,
        )


@dataclass(slots=True)
class Parts:
    """One process's gateway, and all it stands on."""

    gateway: Gateway
    health: HealthPages
    cache: Cache
    objects: ObjectCaches
    warmer: Warmer
    breakers: Breakers
    reloader: Reloader
    flusher: Flusher
    realtime: Realtime
    events: EventsEndpoint
    proxy: SocketProxy
    _control: Control
    _base: Foundation
    _guards: Resilience
    _tasks: TaskSet

    async def close(self) -> None:
        """End what runs behind the requests, then what they stood on."""
        await self._control.close()
        await self.realtime.close()
        signals.on_change.clear()
        await self._tasks.cancel_and_wait()
        await self.gateway.close()
        if self._base.tokens:
            self._base.tokens.close()
        await self._guards.idempotency.close()
        await self._guards.limiter.close()
        await self.breakers.close()
        await self._base.backend.close()
        await self.flusher.close()
        if self._base.link:
            await self._base.link.close()
        if self._base.tracer:
            await asyncio.to_thread(self._base.tracer.close)
        if self._base.log:
            self._base.log.flush()


async def open_parts() -> Parts:
    """This process's gateway, on the running loop, as the environment asks for it."""
    config: Config = settings.CONFIG
    base = Foundation(config)
    guards = Resilience(config, base)
    gateway = _gateway(config, base, guards)
    proxy = SocketProxy(gateway, guards.calls, guards.targets, base.authenticator, origins=config.cors_origins)
    flusher = Flusher(
        base.counting,
        base.stores.counts,
        AggregateWriter(),
        counters=base.stores.totals,
        gauges={"websocket_connections": lambda: len(base.realtime.hub)},
    )
    reloader = Reloader(
        partial(loader.load, config.secret),
        loader.current_version,
        partial(_swap, base.live, guards.breakers),
        clock=time.time,
        interval=LOOK_SECONDS,
    )
    services = partial(_services, base.live)
    prober = HealthChecker(
        base.backend, base.stores.targets, guards.targets, services, emit=base.observers.backend_event
    )
    tasks = await background.begin(base.link, guards.breakers, reloader, prober, guards.heat)
    flusher.start()
    base.realtime.start()
    runtime.current().on_stopping += [base.realtime.begin_shutdown, proxy.begin_shutdown]
    control = Control(base.realtime)
    control.start()
    checks = partial(health_checks, base.link, base.live, guards.breakers, guards.targets)
    return Parts(
        gateway=gateway,
        health=HealthPages(checks, lambda: reloader.status.version is not None),
        cache=guards.cache,
        objects=ObjectCaches(base.stores.answers, time.time, guards.flights, base.counting.looked_up),
        warmer=Warmer(gateway, guards.heat),
        breakers=guards.breakers,
        reloader=reloader,
        flusher=flusher,
        realtime=base.realtime,
        events=EventsEndpoint(gateway, base.realtime),
        proxy=proxy,
        _control=control,
        _base=base,
        _guards=guards,
        _tasks=tasks,
    )


def _gateway(config: Config, base: Foundation, guards: Resilience) -> Gateway:
    return _kind(config, base)(
        rules=GatewayRules(
            rate=config.rate_limit,
            max_body_bytes=config.max_body_bytes,
            trusted_proxies=config.trusted_proxies,
            cors_origins=config.cors_origins,
        ),
        live=base.live,
        limiter=guards.limiter,
        authenticator=base.authenticator,
        cache=guards.cache,
        flights=guards.flights,
        hit_counter=guards.heat,
        own_cookies=base.own_cookies,
        calls=guards.calls,
        observers=base.observers,
        idempotency=guards.idempotency,
    )


def _kind(config: Config, base: Foundation) -> Callable[..., Gateway]:
    """A gateway; one that is traced where the environment asks for it."""
    if config.traces is None or base.tracer is None:
        return Gateway
    return partial(TracedGateway, tracer=base.tracer, sampling=config.traces.sampling, timer=time.perf_counter)


def _services(live: LiveConfiguration) -> Iterable[Service]:
    """Those of the table that is served by now."""
    return live.table.services.values()


def _swap(live: LiveConfiguration, breakers: Breakers, loaded: LoadedConfiguration) -> None:
    for service in loaded.table.services.values():
        breakers.of(service.name, service.policy.breaker)
    live.table, live.keys = loaded.table, ApiKeys(loaded.keys)


def _tracer(config: Config) -> "SpanSender | None":
    if config.traces is None:
        return None
    from metrics.tracing import over_http  # noqa: PLC0415 - an optional extra, which config.py has looked for

    return over_http(config.traces.endpoint, config.traces.resource)


def _firebase(config: Config) -> "FirebaseVerifier | None":
    if config.firebase_project is None:
        return None
    from routing.authentication.firebase import FirebaseVerifier  # noqa: PLC0415 - a third of a second, where nobody asks for it

    return FirebaseVerifier(
        config.firebase_project,
        clock=time.time,
        certificate=str(config.firebase_credentials) if config.firebase_credentials else None,
        emulator=config.firebase_emulator,
    )
