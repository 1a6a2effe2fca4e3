"""The composition root: builds the gateway from its parts (gateway_project/parts/)."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from django.conf import settings

from gateway_project import background
from gateway_project.application import Application
from gateway_project.checks import health_checks
from gateway_project.config import Config
from gateway_project.parts.alerts import Alerts
from gateway_project.parts.allowed_hosts import allowed_hosts
from gateway_project.parts.certificates import open_revocations
from gateway_project.parts.components import Infrastructure, Resilience
from gateway_project.parts.countries import open_countries
from gateway_project.parts.deliveries import Deliveries
from gateway_project.parts.key_upkeep import open_key_upkeep
from gateway_project.parts.retention import open_retention
from gateway_project.parts.tokens import load_identity_keys
from gateway_project.parts.usage import open_usage
from gateway_project.parts.watches import build_watcher
from gateway_project.postgresql.query_limit import QUERY_LIMIT
from metrics.counting.aggregates import AggregateWriter
from metrics.counting.flusher import WORKERS, Flusher
from metrics.infrastructure.worker import MEMORY, PROCESSOR, WorkerLoad, memory_bytes
from metrics.targets.gauges import target_gauges
from resilience.cache.objects import ObjectCaches
from resilience.task_set import TaskSet
from routing.balancing.health_checks import HealthChecker
from routing.configuration.reload import Reloader
from routing.credentials.cipher import Cipher
from routing.gateway_rules import GatewayRules
from routing.observability.health import HealthPages
from routing.pipeline import Gateway
from routing.realtime.control import Control
from routing.realtime.http import EventsEndpoint
from routing.realtime.proxy import SocketProxy
from routing.realtime.service import Realtime
from routing.router.live import LiveConfiguration
from routing.router.table import Service
from routing.steps.cache.steps import CacheDependencies
from routing.steps.plan import PlanLimits
from routing.tracing import TracedGateway
from routing.warming import Warmer
from routing.watches.watcher import Watcher


async def open_application() -> Application:
    """Build and start this process's gateway on the running loop, as the environment configures it."""
    config: Config = settings.CONFIG
    QUERY_LIMIT.begin()
    infra = Infrastructure(config)
    resilience = Resilience(config, infra)
    gateway = _gateway(config, infra, resilience)
    proxy = _socket_proxy(config, infra, resilience, gateway)
    flusher = _flusher(infra, resilience)
    reloader = _reloader(config, infra, resilience)
    upkeep, retention = open_key_upkeep(infra), open_retention(config)
    tasks = await _background(config, infra, resilience, reloader)
    tasks.create(upkeep.run())
    tasks.create(retention.run())
    await _start_recording(infra, flusher)
    return Application(
        gateway=gateway,
        health=_health_pages(infra, resilience, flusher, reloader),
        cache=resilience.cache,
        objects=ObjectCaches(infra.stores.responses, time.time, resilience.flights, infra.counting.looked_up),
        warmer=Warmer(gateway, resilience.hit_counter),
        reloader=reloader,
        flusher=flusher,
        usage=open_usage(config, infra),
        realtime=infra.realtime,
        events=EventsEndpoint(gateway, infra.realtime),
        deliveries=_deliveries(config, infra, resilience, gateway),
        watcher=_watcher(config, infra, resilience, gateway),
        alerts=_alerts(config, infra, resilience, flusher),
        proxy=proxy,
        key_usage=infra.key_usage,
        failures=infra.failures,
        request_log=infra.request_log,
        _key_upkeep=upkeep,
        _retention=retention,
        _control=_control(infra.realtime),
        _infrastructure=infra,
        _resilience=resilience,
        _tasks=tasks,
    )


async def _start_recording(infra: Infrastructure, flusher: Flusher) -> None:
    """Start what records requests and events, and wait for the connection to Redis, if there is one."""
    flusher.start()
    infra.realtime.start()
    infra.failures.start()
    infra.request_log.start()
    if infra.link:
        await infra.link.settle()


def _health_pages(infra: Infrastructure, resilience: Resilience, flusher: Flusher, reloader: Reloader) -> HealthPages:
    """Ready once a configuration has been loaded."""
    links = infra.link, infra.live, resilience.breakers, resilience.targets, infra.tokens
    checks = partial(health_checks, *links, gauges=partial(_gauges, flusher))
    return HealthPages(checks, lambda: reloader.status.version is not None)


async def _gauges(flusher: Flusher) -> Mapping[str, int]:
    return (await flusher.pending()).gauges


def _control(realtime: Realtime) -> Control:
    """Started."""
    control = Control(realtime)
    control.start()
    return control


def _reloader(config: Config, infra: Infrastructure, resilience: Resilience) -> Reloader:
    cipher = Cipher(config.credential_keys, config.secret_key)
    return background.reloader(
        config.secret,
        infra.live,
        resilience.breakers,
        environment=config.environment_name,
        apply_issuers=partial(infra.tokens.apply, infra.authenticator),
        load_keys=partial(load_identity_keys, cipher, infra.signer),
        unseal=cipher.decrypt,
    )


async def _background(config: Config, infra: Infrastructure, resilience: Resilience, reloader: Reloader) -> TaskSet:
    """The tasks that keep this worker up to date. Files that no request may be answered without are read first."""
    files = (open_countries(config), open_revocations(config, infra.revoked_certificates))
    health_checker = HealthChecker(
        infra.backend,
        infra.stores.targets,
        resilience.targets,
        partial(_services, infra.live),
        emit=infra.observers.backend_event,
    )
    shared = background.SharedState(resilience.breakers, resilience.hold_offs, resilience.quotas, resilience.consumers)
    tasks = await background.start(infra.link, shared, reloader, health_checker, resilience.hit_counter)
    tasks.create(resilience.credentials.run())
    for file in files:
        if file is not None:
            tasks.create(file.run())
    return tasks


def _socket_proxy(config: Config, infra: Infrastructure, resilience: Resilience, gateway: Gateway) -> SocketProxy:
    origins = config.cors_origins
    return SocketProxy(
        gateway,
        resilience.calls,
        infra.authenticator,
        origins=origins,
        dialer=infra.dialer,
        contexts=infra.contexts,
        meter=infra.meter,
    )


def _deliveries(config: Config, infra: Infrastructure, resilience: Resilience, gateway: Gateway) -> Deliveries:
    """Started."""
    deliveries = Deliveries(
        gateway,
        infra.stores.deliveries,
        resilience.limiter,
        resilience.cache,
        infra.realtime,
        refusals=config.rate_limit,
        count=infra.counting.webhook,
        is_enabled=config.hooks,
    )
    deliveries.start()
    return deliveries


def _watcher(config: Config, infra: Infrastructure, resilience: Resilience, gateway: Gateway) -> Watcher:
    """Started unless this gateway receives no deliveries."""
    count, emit = infra.counting.webhook, infra.observers.backend_event
    watcher = build_watcher(
        gateway, resilience.cache, secret_key=config.secret_key, clock=infra.clock, count=count, emit=emit
    )
    if config.hooks:
        watcher.start()
    return watcher


def _alerts(config: Config, infra: Infrastructure, resilience: Resilience, flusher: Flusher) -> Alerts:
    """Started."""
    alerts = Alerts(config, infra, resilience, flusher)
    alerts.start()
    return alerts


def _gateway(config: Config, infra: Infrastructure, resilience: Resilience) -> Gateway:
    return _gateway_class(config, infra)(
        rules=GatewayRules(
            rate=config.rate_limit,
            max_body_bytes=config.max_body_bytes,
            trusted_proxies=config.trusted_proxies,
            certificates=config.certificates,
            cors_origins=config.cors_origins,
            staff=config.staff,
            portal=config.portal.origin,
            allowed_hosts=allowed_hosts(),
        ),
        live=infra.live,
        limiter=resilience.limiter,
        authenticator=infra.authenticator,
        cache=CacheDependencies(
            resilience.cache, infra.cookies, infra.cache_keys, resilience.flights, resilience.hit_counter
        ),
        credentials=resilience.credentials,
        calls=resilience.calls,
        observers=infra.observers,
        idempotency=resilience.idempotency,
        plan_limits=PlanLimits(
            resilience.limiter,
            resilience.consumers.quotas,
            resilience.consumers.slots,
            clock=time.time,
            timer=time.perf_counter,
        ),
        key_usage=infra.key_usage,
        meter=infra.meter,
        request_log=infra.request_log,
        nonces=infra.stores.nonces,
    )


def _flusher(infra: Infrastructure, resilience: Resilience) -> Flusher:
    calls = resilience.calls
    return Flusher(
        infra.counting,
        infra.stores.counts,
        AggregateWriter(),
        counters=infra.stores.totals,
        gauges={
            "websocket_connections": lambda: len(infra.realtime.hub),
            "calls_in_flight": lambda: calls.in_flight,
            MEMORY: memory_bytes,
            PROCESSOR: WorkerLoad().cpu_millis,
            WORKERS: lambda: 1,
        },
        more_gauges=lambda: target_gauges(resilience.targets.conditions()),
    )


def _gateway_class(config: Config, infra: Infrastructure) -> Callable[..., Gateway]:
    """The class of the gateway: with tracing if the environment configures it."""
    if config.traces is None or infra.tracer is None:
        return Gateway
    return partial(TracedGateway, tracer=infra.tracer, sampling=config.traces.sampling)


def _services(live: LiveConfiguration) -> Iterable[Service]:
    """The services of the current route table."""
    return live.table.services.values()
