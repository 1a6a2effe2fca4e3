"""What runs behind the requests: listening, looking, refreshing, flushing; and how it begins."""

import asyncio
import contextlib
from typing import Final

from resilience.breaker.driver import Breakers
from resilience.cache.heat import HitCounter
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.task_set import TaskSet
from routing import signals
from routing.balancing.health_checks import HealthChecker
from routing.configuration.reload import Reloader

REFRESH_SECONDS: Final = 1.0
HEAT_SECONDS: Final = 5.0
CONFIGURATION: Final = "gw:configuration"
"""Where a saved change is told, so that every worker looks at once."""


async def begin(
    link: RedisLink | None, breakers: Breakers, reloader: Reloader, prober: HealthChecker, heat: HitCounter
) -> TaskSet:
    """Listen before the first word may be said; load before the first request comes."""
    wake = reloader.wake
    if link:
        loop = asyncio.get_running_loop()
        link.feed.listen(CONFIGURATION, lambda _message: reloader.wake())
        link.feed.watch(up=reloader.wake, down=lambda: None)
        await link.start()

        def wake() -> None:
            asyncio.run_coroutine_threadsafe(_tell(link), loop)
            reloader.wake()

    signals.on_change.append(wake)
    await reloader.check()
    await breakers.refresh()
    tasks = TaskSet()
    for work in (reloader.run(), _refresh(breakers), prober.run(), _flush(heat)):
        tasks.create(work)
    return tasks


async def _refresh(breakers: Breakers) -> None:
    """Messages may be missed; a look each second is not."""
    while True:
        await breakers.refresh()
        await asyncio.sleep(REFRESH_SECONDS)


async def _flush(heat: HitCounter) -> None:
    while True:
        await asyncio.sleep(HEAT_SECONDS)
        await heat.flush()


async def _tell(link: RedisLink) -> None:
    """Where Redis is away, the version check finds the change a little later."""
    with contextlib.suppress(StoreUnavailable):
        await link.publish(CONFIGURATION, b"changed")
