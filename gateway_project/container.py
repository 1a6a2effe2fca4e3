"""The composition root: the only module that picks implementations, and the only one that owns the clock."""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from django.conf import settings

from gateway_project.checks import health_checks
from gateway_project.config import Config
from resilience.breaker.driver import Breakers
from resilience.breaker.memory import MemoryStore as BreakerMemory
from resilience.breaker.redis import RedisStore as BreakerRedis
from resilience.cache.driver import Cache
from resilience.cache.memory import MemoryStore as CacheMemory
from resilience.cache.store import NearStore
from resilience.cache.tiers import TieredStore
from resilience.outage import StoreUnavailable
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as RateMemory
from resilience.ratelimit.redis import RedisStore as RateRedis
from resilience.redis import RedisLink
from routing import runtime, signals
from routing.accesslog import AccessLog
from routing.authentication.apikeys import ApiKeys
from routing.authentication.authenticator import Authenticator
from routing.backend.client import Backend
from routing.caching import Caching
from routing.calling import Calling
from routing.configuration import loader
from routing.configuration.live import Live
from routing.configuration.loader import Loaded
from routing.configuration.reload import Reloader
from routing.events import Observers
from routing.health import HealthPages
from routing.pipeline import Gateway, GatewayRules
from routing.realtime.control import Control
from routing.realtime.log import MemoryLog
from routing.realtime.proxy import SocketProxy
from routing.realtime.realtime import Realtime
from routing.realtime.redis import RedisLog

if TYPE_CHECKING:
    from routing.authentication.firebase import FirebaseVerifier

REFRESH_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.5
"""How often a worker looks whether the configuration moved: half of the second it may take."""
CONFIGURATION: Final = "gw:configuration"
"""Where a saved change is told, so that every worker looks at once."""


@dataclass(slots=True)
class Parts:
    """One process's gateway, and all it stands on."""

    gateway: Gateway
    health: HealthPages
    cache: Cache
    breakers: Breakers
    reloader: Reloader
    realtime: Realtime
    proxy: SocketProxy
    _control: Control
    _limiter: Limiter
    _tokens: "FirebaseVerifier | None"
    _backend: Backend
    _link: RedisLink | None
    _log: AccessLog | None
    _tasks: list["asyncio.Task[None]"]

    async def close(self) -> None:
        """End what runs behind the requests, then what they stood on."""
        await self._control.close()
        await self.realtime.close()
        signals.nudges.clear()
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._tokens:
            self._tokens.close()
        await self._limiter.close()
        await self.breakers.close()
        await self._backend.close()
        if self._link:
            await self._link.close()
        if self._log:
            self._log.flush()


async def open_parts() -> Parts:
    """This process's gateway, on the running loop, as the environment asks for it."""
    config: Config = settings.CONFIG
    link = RedisLink(settings.REDIS_URL) if settings.REDIS_URL else None
    own_cookies = frozenset({settings.SESSION_COOKIE_NAME.encode(), settings.CSRF_COOKIE_NAME.encode()})
    log = AccessLog(config.log_format) if config.access_log else None
    live, backend = Live(), Backend()
    tokens = _firebase(config)
    authenticator = Authenticator(lambda: live.keys, tokens)
    realtime = Realtime(
        RedisLog(link) if link else MemoryLog(time.time), live, authenticator, origins=config.cors_origins
    )
    observers = Observers([log, realtime] if log else [realtime])
    breakers = Breakers(
        BreakerRedis(link) if link else BreakerMemory(), clock=time.time, on_change=observers.circuit_changed
    )
    limiter = Limiter(RateRedis(link) if link else RateMemory(), clock=time.time, share=config.workers)
    near: NearStore = TieredStore(link) if link else CacheMemory(time.time)
    near.listeners.append(realtime.invalidated)
    cache = Cache(near)
    calling = Calling(backend, breakers, own_cookies=own_cookies, max_body_bytes=config.max_body_bytes)
    gateway = Gateway(
        rules=GatewayRules(
            rate=config.rate_limit,
            max_body_bytes=config.max_body_bytes,
            trusted_proxies=config.trusted_proxies,
            cors_origins=config.cors_origins,
        ),
        live=live,
        limiter=limiter,
        authenticator=authenticator,
        caching=Caching(cache, own_cookies=own_cookies),
        calling=calling,
        observers=observers,
    )
    reloader = Reloader(
        partial(loader.load, config.secret),
        loader.current_version,
        partial(_swap, live, breakers),
        clock=time.time,
        interval=LOOK_SECONDS,
    )
    tasks = await _start(link, breakers, reloader)
    health = HealthPages(partial(health_checks, link, live, breakers), lambda: reloader.status.version is not None)
    realtime.start()
    proxy = SocketProxy(gateway, calling, authenticator, origins=config.cors_origins)
    runtime.current().on_stopping += [realtime.restart, proxy.restart]
    control = Control(realtime)
    control.start()
    return Parts(
        gateway, health, cache, breakers, reloader, realtime, proxy, control, limiter, tokens, backend, link, log, tasks
    )


async def _start(link: RedisLink | None, breakers: Breakers, reloader: Reloader) -> list["asyncio.Task[None]"]:
    """Listen before the first word may be said; load before the first request comes."""
    nudge = reloader.nudge
    if link:
        loop = asyncio.get_running_loop()
        link.feed.listen(CONFIGURATION, lambda _message: reloader.nudge())
        link.feed.watch(up=reloader.nudge, down=lambda: None)
        await link.start()

        def nudge() -> None:
            asyncio.run_coroutine_threadsafe(_tell(link), loop)
            reloader.nudge()

    signals.nudges.append(nudge)
    await reloader.check()
    await breakers.refresh()
    return [asyncio.create_task(reloader.run()), asyncio.create_task(_refresh(breakers))]


async def _refresh(breakers: Breakers) -> None:
    """Messages may be missed; a look each second is not."""
    while True:
        await breakers.refresh()
        await asyncio.sleep(REFRESH_SECONDS)


async def _tell(link: RedisLink) -> None:
    """Where Redis is away, the version check finds the change a little later."""
    with contextlib.suppress(StoreUnavailable):
        await link.publish(CONFIGURATION, b"changed")


def _swap(live: Live, breakers: Breakers, loaded: Loaded) -> None:
    for service in loaded.table.services.values():
        breakers.of(service.name, service.policy.breaker)
    live.table, live.keys = loaded.table, ApiKeys(loaded.keys)


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
