"""The gateway's cache for Django code.

    from routing.cache import cache

    cache.get_or_set("channels", load_channels, ttl=60, tags=["slack:channels"])
    await cache.aget("channels")

Works in a worker, in a management command, and under a WSGI or ASGI server of the project's own, where it starts the
gateway's event loop in a thread on first use. docs/caching.md has an example.
"""

import asyncio
from typing import Final, TypeVar

from django.core.exceptions import SynchronousOnlyOperation

from resilience.cache.service import CacheService, Work
from routing import runtime

T = TypeVar("T")


class _RunningGateway:
    """A Runner over this process's gateway."""

    def run(self, work: Work[T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return runtime.current().submit(self._work(work)).result()
        raise SynchronousOnlyOperation("from an event loop, call the cache's methods that begin with `a`")

    async def arun(self, work: Work[T]) -> T:
        return await runtime.current().run(self._work(work))

    def services(self) -> list[str]:
        return list(runtime.current().gateway.live.table.services)

    async def _work(self, work: Work[T]) -> T:
        return await work(runtime.current().objects)


cache: Final = CacheService(_RunningGateway())
