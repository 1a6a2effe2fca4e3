"""Background tasks of a worker: reload the configuration, refresh circuits, check health, flush hit counts."""

import asyncio
import contextlib
import time
from functools import partial
from typing import Final

from resilience.breaker.driver import Breakers
from resilience.cache.hit_counter import HitCounter
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.task_set import TaskSet
from routing import signals
from routing.authentication.api_keys import ApiKeys
from routing.balancing.health_checks import HealthChecker
from routing.configuration.reload import Reloader
from routing.configuration.secret_files import WatchedSecrets
from routing.configuration.values import SecretLookup
from routing.database import loader
from routing.router.live import LiveConfiguration, LoadedConfiguration, with_last_valid

POLL_SECONDS: Final = 0.5
"""How often the version of the configuration is polled: half of the second in which a change must take effect."""
REFRESH_SECONDS: Final = 1.0
FLUSH_SECONDS: Final = 5.0
RELOADER: Final = "reloader"
"""The dispatch_uid of this process's receiver of `configuration_changed`."""
CONFIGURATION: Final = "configuration"
"""The Redis channel that announces a saved change, so that every worker reloads at once."""


def reloader(secret: SecretLookup, live: LiveConfiguration, breakers: Breakers) -> Reloader:
    """What keeps `live` up to date with the database and with secrets in files."""
    secrets = WatchedSecrets(secret)
    return Reloader(
        partial(_load, secrets),
        loader.current_version,
        partial(_apply, live, breakers),
        clock=time.time,
        secrets_changed=secrets.poll,
        interval=POLL_SECONDS,
    )


def _load(secrets: WatchedSecrets) -> LoadedConfiguration:
    with secrets.loading():
        return loader.load(secrets.value, secrets.outdated)


def _apply(live: LiveConfiguration, breakers: Breakers, loaded: LoadedConfiguration) -> None:
    table = with_last_valid(loaded, live.table)
    for service in table.services.values():
        if not service.is_out:  # its circuit keeps its settings until the service returns
            breakers.of(service.name, service.policy.breaker)
    # Keys first: a table makes the worker ready, and no key may be refused before they are known.
    live.keys, live.table = ApiKeys(loaded.keys), table


async def start(
    link: RedisLink | None, breakers: Breakers, reloader: Reloader, health_checker: HealthChecker, hits: HitCounter
) -> TaskSet:
    """Load the configuration and the circuits, then start the tasks.

    Subscribes to Redis first, so that no change made meanwhile is missed.
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

    signals.configuration_changed.disconnect(dispatch_uid=RELOADER)  # the parent's, in a process that was forked
    signals.configuration_changed.connect(wake, weak=False, dispatch_uid=RELOADER)
    await reloader.check()
    await breakers.refresh()
    tasks = TaskSet()
    for work in (reloader.run(), _refresh(breakers), health_checker.run(), _flush(hits)):
        tasks.create(work)
    return tasks


async def _refresh(breakers: Breakers) -> None:
    """Poll, since a message may be lost."""
    while True:
        await breakers.refresh()
        await asyncio.sleep(REFRESH_SECONDS)


async def _flush(hits: HitCounter) -> None:
    while True:
        await asyncio.sleep(FLUSH_SECONDS)
        await hits.flush()


async def _announce(link: RedisLink) -> None:
    """Without Redis, workers find the change at their next poll."""
    with contextlib.suppress(StoreUnavailable):
        await link.publish(CONFIGURATION, b"changed")
