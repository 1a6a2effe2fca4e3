"""The composition root: the only module that builds the gateway from its parts and passes them the clock."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

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
from resilience.cache.hit_counter import HitCounter
from resilience.cache.objects import ObjectCaches
from resilience.ratelimit.driver import Limiter
from resilience.redis import RedisLink
from resilience.task_set import TaskSet
from routing import signals
from routing.authentication.authenticator import Authenticator
from routing.backend.client import Backend
from routing.backend.dialer import Dialer
from routing.backend.names import NameTable
from routing.balancing.balancer import Balancers
from routing.balancing.health_checks import HealthChecker
from routing.configuration.reload import Reloader
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
from routing.router.live import LiveConfiguration
from routing.router.table import NOT_LOADED, Service
from routing.steps.cache.cache_key import CacheKeys, holds_response
from routing.steps.calls import Calls
from routing.tracing import TracedGateway
from routing.warming import Warmer

if TYPE_CHECKING:
    from metrics.tracing import SpanSender
    from routing.authentication.firebase import FirebaseVerifier


class Infrastructure:
    """What the rest is built on: stores, the client to backends, authentication, observers and tracing."""

    def __init__(self, config: Config) -> None:
        self.link = (
            RedisLink(settings.REDIS_URL, settings.REDIS_PREFIX, clock=time.time) if settings.REDIS_URL else None
        )
        self.stores = Stores.over(self.link)
        self.clock = self.link.now if self.link else time.time
        """The clock of what workers share: all have the same, however their machines' clocks differ."""
        self.live = LiveConfiguration(NOT_LOADED)
        self.dialer = Dialer(NameTable())
        self.backend = Backend(dialer=self.dialer)
        self.tokens = _firebase(config)
        self.authenticator = Authenticator(lambda: self.live.keys, self.tokens)
        self.log = AccessLog(config.log_format) if config.access_log else None
        self.counting = MetricsObserver()
        self.own_cookies = frozenset(name.encode() for name in settings.OWN_COOKIES)
        self.cache_keys = CacheKeys(self.own_cookies, _cache_secret())
        self.realtime = Realtime(
            self.stores.events,
            self.live,
            self.authenticator,
            origins=config.cors_origins,
            is_cached=partial(holds_response, self.stores.responses, self.cache_keys),
        )
        observers: list[Observer] = [self.realtime, self.counting, EventLog()]
        self.observers = Observers([self.log, *observers] if self.log else observers)
        self.tracer = _tracer(config)


class Resilience:
    """Circuit breakers, rate limits, balancing, the cache and idempotency."""

    def __init__(self, config: Config, infra: Infrastructure) -> None:
        stores, observers = infra.stores, infra.observers
        self.breakers = Breakers(stores.circuits, clock=infra.clock, on_change=observers.circuit_changed)
        self.limiter = Limiter(stores.rates, clock=time.time, share=config.workers)
        self.targets = Balancers(emit=observers.backend_event)
        self.idempotency = Idempotency(stores.writes, own_cookies=infra.own_cookies, emit=observers.backend_event)
        self.cache = Cache(stores.responses)
        self.hit_counter = HitCounter(infra.link)
        stores.responses.listeners.append(infra.realtime.invalidated)
        self.flights = Flights(stores.leases, clock=time.time)
        self.calls = Calls(
            infra.backend,
            self.breakers,
            own_cookies=infra.own_cookies,
            max_body_bytes=config.max_body_bytes,
            balancers=self.targets,
            emit=observers.backend_event,
        )


@dataclass(slots=True)
class Application:
    """One process's gateway with everything it uses."""

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
    _infrastructure: Infrastructure
    _resilience: Resilience
    _tasks: TaskSet

    def begin_drain(self) -> None:
        self.health.begin_drain()

    def begin_shutdown(self) -> None:
        self.realtime.begin_shutdown()
        self.proxy.begin_shutdown()

    async def close(self) -> None:
        """Stop the background tasks, then close what requests use, in the reverse order of dependence."""
        await self._control.close()
        await self.realtime.close()
        signals.configuration_changed.disconnect(dispatch_uid=background.RELOADER)
        await self._tasks.cancel_and_wait()
        await self.gateway.close()
        if self._infrastructure.tokens:
            self._infrastructure.tokens.close()
        await self._resilience.idempotency.close()
        await self._resilience.limiter.close()
        await self.breakers.close()
        await self._infrastructure.backend.close()
        await self.flusher.close()
        if self._infrastructure.link:
            await self._infrastructure.link.close()
        if self._infrastructure.tracer:
            await asyncio.to_thread(self._infrastructure.tracer.close)
        if self._infrastructure.log:
            self._infrastructure.log.flush()


async def open_application() -> Application:
    """Build and start this process's gateway on the running loop, as the environment configures it."""
    config: Config = settings.CONFIG
    infra = Infrastructure(config)
    resilience = Resilience(config, infra)
    gateway = _gateway(config, infra, resilience)
    proxy = _socket_proxy(config, infra, resilience, gateway)
    flusher = _flusher(infra, resilience.calls)
    reloader = background.reloader(config.secret, infra.live, resilience.breakers)
    services = partial(_services, infra.live)
    health_checker = HealthChecker(
        infra.backend, infra.stores.targets, resilience.targets, services, emit=infra.observers.backend_event
    )
    tasks = await background.start(infra.link, resilience.breakers, reloader, health_checker, resilience.hit_counter)
    flusher.start()
    infra.realtime.start()
    control = Control(infra.realtime)
    control.start()
    if infra.link:
        await infra.link.settle()
    keys = infra.tokens.keys if infra.tokens else None
    checks = partial(health_checks, infra.link, infra.live, resilience.breakers, resilience.targets, keys)
    return Application(
        gateway=gateway,
        health=HealthPages(checks, lambda: reloader.status.version is not None),
        cache=resilience.cache,
        objects=ObjectCaches(infra.stores.responses, time.time, resilience.flights, infra.counting.looked_up),
        warmer=Warmer(gateway, resilience.hit_counter),
        breakers=resilience.breakers,
        reloader=reloader,
        flusher=flusher,
        realtime=infra.realtime,
        events=EventsEndpoint(gateway, infra.realtime),
        proxy=proxy,
        _control=control,
        _infrastructure=infra,
        _resilience=resilience,
        _tasks=tasks,
    )


def _socket_proxy(config: Config, infra: Infrastructure, resilience: Resilience, gateway: Gateway) -> SocketProxy:
    origins = config.cors_origins
    return SocketProxy(gateway, resilience.calls, infra.authenticator, origins=origins, dialer=infra.dialer)


def _gateway(config: Config, infra: Infrastructure, resilience: Resilience) -> Gateway:
    return _gateway_class(config, infra)(
        rules=GatewayRules(
            rate=config.rate_limit,
            max_body_bytes=config.max_body_bytes,
            trusted_proxies=config.trusted_proxies,
            cors_origins=config.cors_origins,
            staff=config.staff,
            allowed_hosts=tuple(settings.ALLOWED_HOSTS),
        ),
        live=infra.live,
        limiter=resilience.limiter,
        authenticator=infra.authenticator,
        cache=resilience.cache,
        flights=resilience.flights,
        hit_counter=resilience.hit_counter,
        own_cookies=infra.own_cookies,
        cache_keys=infra.cache_keys,
        calls=resilience.calls,
        observers=infra.observers,
        idempotency=resilience.idempotency,
    )


def _flusher(infra: Infrastructure, calls: Calls) -> Flusher:
    return Flusher(
        infra.counting,
        infra.stores.counts,
        AggregateWriter(),
        counters=infra.stores.totals,
        gauges={"websocket_connections": lambda: len(infra.realtime.hub), "calls_in_flight": lambda: calls.in_flight},
    )


def _gateway_class(config: Config, infra: Infrastructure) -> Callable[..., Gateway]:
    """The class of the gateway: with tracing if the environment configures it."""
    if config.traces is None or infra.tracer is None:
        return Gateway
    return partial(TracedGateway, tracer=infra.tracer, sampling=config.traces.sampling, timer=time.perf_counter)


def _cache_secret() -> bytes:
    """The key of digests in cache keys: the same in every worker, and another one in every installation."""
    return blake2b(settings.SECRET_KEY.encode(), person=b"cache keys").digest()


def _services(live: LiveConfiguration) -> Iterable[Service]:
    """The services of the current route table."""
    return live.table.services.values()


def _tracer(config: Config) -> "SpanSender | None":
    if config.traces is None:
        return None
    from metrics.tracing import over_http  # noqa: PLC0415 - an optional dependency, checked by config.py

    return over_http(config.traces.endpoint, config.traces.resource)


def _firebase(config: Config) -> "FirebaseVerifier | None":
    if config.firebase_project is None:
        return None
    from routing.authentication.firebase import FirebaseVerifier  # noqa: PLC0415 - importing it takes a third of a second

    return FirebaseVerifier(
        config.firebase_project,
        clock=time.time,
        certificate=str(config.firebase_credentials) if config.firebase_credentials else None,
        emulator=config.firebase_emulator,
    )
