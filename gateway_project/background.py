"""Background tasks of a worker: reload the configuration, refresh circuits, check health, flush hit counts."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from gateway_project.parts.announcements import CHANGED, CONFIGURATION
from gateway_project.parts.consumers import ConsumerLimits
from resilience.breaker.driver import Breakers
from resilience.cache.hit_counter import HitCounter
from resilience.holdoff.driver import HoldOffs
from resilience.outage import StoreUnavailable
from resilience.quotas.driver import QuotaBook
from resilience.redis import RedisLink
from resilience.task_set import TaskSet
from routing import signals
from routing.authentication.api_keys import ApiKeys
from routing.balancing.health_checks import HealthChecker
from routing.configuration.reload import Reloader
from routing.configuration.secret_files import WatchedSecrets
from routing.configuration.values import SecretLookup
from routing.consumers.table import ConsumerTable
from routing.database import loader
from routing.database.connection import thread_connection
from routing.database.signing_keys import Unseal
from routing.database.source import ConfigurationSource
from routing.router.live import LiveConfiguration, LoadedConfiguration, with_last_valid
from routing.router.table import RouteTable

POLL_SECONDS: Final = 0.5
"""How often the version of the configuration is polled: half of the second in which a change must take effect."""
REFRESH_SECONDS: Final = 1.0
FLUSH_SECONDS: Final = 5.0


class SharedState(NamedTuple):
    """The state of backends that all workers share."""

    breakers: Breakers
    hold_offs: HoldOffs
    quotas: QuotaBook
    consumers: ConsumerLimits

    async def refresh(self) -> None:
        await self.breakers.refresh()
        await self.hold_offs.refresh()
        await self.quotas.flush()
        await self.consumers.refresh()


def reloader(
    secret: SecretLookup,
    live: LiveConfiguration,
    breakers: Breakers,
    *,
    environment: str,
    apply_issuers: Callable[[RouteTable], None],
    load_keys: Callable[[RouteTable], None],
    unseal: Unseal,
) -> Reloader:
    """A reloader, which keeps `live` up to date with the database and with secrets in files. `load_keys` and `unseal`
    are called in a thread.
    """
    secrets = WatchedSecrets(secret)
    services = partial(loader.load_services, secrets.value, secrets.outdated, unseal=unseal)
    source = ConfigurationSource(services, on_services=load_keys, clock=time.monotonic)
    configuration = LiveUpdates(live, breakers, environment, apply_issuers)

    def load() -> LoadedConfiguration:
        with thread_connection(), secrets.loading():
            return source.load()

    def has_new_secrets() -> bool:
        found = secrets.poll()
        if found:
            source.outdate_services()
        return found

    def swap(loaded: LoadedConfiguration) -> None:
        configuration.apply(loaded)
        source.applied()

    return Reloader(
        load,
        loader.current_version,
        swap,
        clock=time.time,
        secrets_changed=has_new_secrets,
        interval=POLL_SECONDS,
    )


class LiveUpdates:
    """Makes each loaded configuration the one in use. Called in the event loop."""

    def __init__(
        self,
        live: LiveConfiguration,
        breakers: Breakers,
        environment: str,
        apply_issuers: Callable[[RouteTable], None],
    ) -> None:
        self._live = live
        self._breakers = breakers
        self._environment = environment
        self._apply_issuers = apply_issuers
        self._loaded: RouteTable | None = None

    def apply(self, loaded: LoadedConfiguration) -> None:
        # Keys first: a table makes the worker ready, and no key may be refused before they are known.
        table = None if loaded.table is self._loaded else self._prepare(loaded)
        self._apply_keys(loaded)
        if table is not None:
            self._loaded, self._live.table = loaded.table, table

    def _prepare(self, loaded: LoadedConfiguration) -> RouteTable:
        table = with_last_valid(loaded, self._live.table)
        for service in table.services.values():
            if not service.is_out:  # its circuit keeps its settings until the service returns
                self._breakers.of(service.name, service.policy.breaker)
        self._apply_issuers(table)
        return table

    def _apply_keys(self, loaded: LoadedConfiguration) -> None:
        """Replace the keys where anything has changed, so that nothing derived from the earlier ones is used."""
        live, keys = self._live, loaded.keys
        if not loaded.changes and keys is live.keys.records and loaded.consumers is live.keys.consumers.data:
            return
        loaded.apply_changes()
        live.keys = ApiKeys(keys, ConsumerTable(loaded.consumers), self._environment)


async def start(
    link: RedisLink | None, shared: SharedState, reloader: Reloader, health_checker: HealthChecker, hits: HitCounter
) -> TaskSet:
    """Load the configuration, the circuits and the hold-offs, then start the tasks.

    Subscribes to Redis first, so that no change is missed while it loads.
    """

    loop = asyncio.get_running_loop()
    if link:
        link.feed.listen(CONFIGURATION, lambda _message: reloader.wake())
        link.feed.subscribe(on_up=reloader.wake, on_down=lambda: None)
        await link.start()

    def wake(**_: object) -> None:
        if link:
            asyncio.run_coroutine_threadsafe(_announce(link), loop)
        reloader.wake()

    signals.configuration_changed.disconnect(dispatch_uid=signals.ANNOUNCER)  # also the parent's, in a forked process
    signals.configuration_changed.connect(wake, weak=False, dispatch_uid=signals.ANNOUNCER)
    await reloader.check()
    await shared.refresh()
    tasks = TaskSet()
    for work in (reloader.run(), _refresh(shared), health_checker.run(), _flush(hits)):
        tasks.create(work)
    return tasks


async def _refresh(shared: SharedState) -> None:
    """Refresh the shared state at intervals, since a message may be lost."""
    while True:
        await shared.refresh()
        await asyncio.sleep(REFRESH_SECONDS)


async def _flush(hits: HitCounter) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        await hits.flush()


async def _announce(link: RedisLink) -> None:
    """Without Redis, workers find the change at their next poll."""
    with contextlib.suppress(StoreUnavailable):
        await link.publish(CONFIGURATION, CHANGED)
