"""What the gateway is built of: its stores, the client to backends, observers, and what protects the backends."""

import time
from functools import partial
from hashlib import blake2b

from django.conf import settings

from gateway_project.config import Config
from gateway_project.parts.allowed_hosts import allowed_hosts
from gateway_project.parts.consumers import ConsumerLimits
from gateway_project.parts.credentials import open_credentials
from gateway_project.parts.optional import open_tracer
from gateway_project.parts.stores import Stores
from gateway_project.parts.tokens import Tokens
from metrics.counting.observer import MetricsObserver
from metrics.failures.recorder import FailureRecorder
from metrics.request_log.recorder import RequestRecorder
from metrics.usage.meter import UsageMeter
from resilience.breaker.driver import Breakers
from resilience.cache.driver import Cache
from resilience.cache.flights import Flights
from resilience.cache.hit_counter import HitCounter
from resilience.holdoff.driver import HoldOffs
from resilience.outbound.driver import OutboundLimiter
from resilience.quotas.driver import QuotaBook
from resilience.ratelimit.driver import Limiter
from resilience.redis import RedisLink
from routing.authentication.authenticator import Authenticator
from routing.authentication.certificates.revocation import CertificateRevocations
from routing.authentication.identity_signer import IdentitySigner
from routing.authentication.key_usage import KeyUsage
from routing.backend.client import Backend
from routing.backend.dialer import Dialer
from routing.backend.names import NameTable
from routing.balancing.balancer import Balancers
from routing.idempotency.driver import Idempotency
from routing.observability.access_log import AccessLog
from routing.observability.event_log import EventLog
from routing.observability.events import Observer, Observers
from routing.pages.cookies import have_domain, own_cookies
from routing.realtime.service import Realtime
from routing.router.gateway_cookies import GatewayCookies
from routing.router.live import LiveConfiguration
from routing.router.table import NOT_LOADED
from routing.steps.backend_limits import BackendLimits
from routing.steps.cache.cache_key import CacheKeys
from routing.steps.cache.held_responses import holds_response
from routing.steps.calls import Calls
from routing.tls.context import TlsContexts


class Infrastructure:
    """What the rest is built on: stores, the client to backends, authentication, observers and tracing."""

    def __init__(self, config: Config) -> None:
        self.link = None
        if config.redis_server:
            self.link = RedisLink(config.redis_server, config.redis_prefix, clock=time.time)
        self.stores = Stores.over(self.link)
        self.clock = self.link.now if self.link else time.time
        """The clock of what workers share: all have the same, however their machines' clocks differ."""
        self.live = LiveConfiguration(NOT_LOADED)
        self.dialer = Dialer(NameTable())
        self.contexts = TlsContexts()
        self.backend = Backend(dialer=self.dialer, contexts=self.contexts)
        self.tokens = Tokens(config, self.backend, self.stores.credentials, self.clock)
        self.key_usage = KeyUsage(time.time)
        self.revoked_certificates = CertificateRevocations()
        self.authenticator = Authenticator(lambda: self.live.keys, revoked_certificates=self.revoked_certificates)
        self.signer = IdentitySigner()
        self.log = AccessLog(config.log_format) if config.server.access_log else None
        self.meter = UsageMeter(config.metering.timezone, clock=self.clock) if config.metering.enabled else None
        self.failures = FailureRecorder(self.stores.failures)
        self.request_log = RequestRecorder(self.stores.request_log, self.live)
        self.counting = MetricsObserver(on_failure=self.failures.service_failed)
        self.cookies = GatewayCookies(own_cookies(), allowed_hosts(), have_domain=have_domain())
        self.cache_keys = CacheKeys(self.cookies, _cache_secret())
        self.realtime = Realtime(
            self.stores.events,
            self.live,
            self.authenticator,
            origins=config.cors_origins,
            is_cached=partial(holds_response, self.stores.responses, self.cache_keys),
        )
        observers: list[Observer] = [self.realtime, self.counting, self.failures, EventLog()]
        self.observers = Observers([self.log, *observers] if self.log else observers)
        self.tracer = open_tracer(config)


class Resilience:
    """Circuit breakers, hold-offs, rate limits, balancing, the cache and idempotency."""

    def __init__(self, config: Config, infra: Infrastructure) -> None:
        stores, observers = infra.stores, infra.observers
        self.breakers = Breakers(stores.circuits, clock=infra.clock, on_change=observers.circuit_changed)
        self.limiter = Limiter(stores.rates, share=config.server.workers)
        self.consumers = ConsumerLimits(config, stores.usage, infra.link, observers)
        self.targets = Balancers(emit=observers.backend_event)
        self.idempotency = Idempotency(stores.writes, cookies=infra.cookies, emit=observers.backend_event)
        self.cache = Cache(stores.responses)
        self.hit_counter = HitCounter(infra.link)
        stores.responses.listeners.append(infra.realtime.invalidated)
        self.flights = Flights(stores.leases, clock=time.time)
        self.credentials, self.connections = open_credentials(
            config,
            stores.credentials,
            infra.link,
            infra.backend,
            emit=observers.backend_event,
            invalidate=self.cache.invalidate,
            clock=infra.clock,
        )
        self.hold_offs = HoldOffs(stores.hold_offs, clock=infra.clock, on_change=observers.hold_off_changed)
        self.outbound = OutboundLimiter(self.limiter)
        self.quotas = QuotaBook(stores.quotas)
        self.limits = self._backend_limits(infra)
        self.calls = Calls(
            infra.backend,
            self.breakers,
            cookies=infra.cookies,
            max_body_bytes=config.max_body_bytes,
            balancers=self.targets,
            limits=self.limits,
            signer=infra.signer,
            passes_interim=config.server.interim_responses,
            emit=observers.backend_event,
        )

    def _backend_limits(self, infra: Infrastructure) -> BackendLimits:
        return BackendLimits(
            self.hold_offs,
            self.outbound,
            self.quotas,
            cookies=infra.cookies,
            secret=_cache_secret(),
            emit=infra.observers.backend_event,
        )


def _cache_secret() -> bytes:
    """The key of digests in cache keys: the same in every worker, and another one in every installation."""
    return blake2b(settings.SECRET_KEY.encode(), person=b"cache keys").digest()
