"""The gateway's cache for Django code.

    from routing.cache import cache, invalidates_on_change

    cache.get_or_set("channels", load_channels, ttl=60, tags=["slack:channels"])
    await cache.aget("channels")

Works in a worker, in a management command, and under a WSGI or ASGI server of the project's own, where it starts the
gateway's event loop in a thread on first use. docs/caching.md has an example.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import models

from resilience.cache.service import CacheService, Objects, Work, checked_tags
from routing import runtime
from routing.database import model_changes

T = TypeVar("T")


class _RunningGateway:
    """A Runner over this process's gateway."""

    def run(self, work: Work[T]) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return runtime.current().wait_for(self._work(work))
        raise SynchronousOnlyOperation("from an event loop, call the cache's methods that begin with `a`")

    async def arun(self, work: Work[T]) -> T:
        return await runtime.current().run(self._work(work))

    def post(self, work: Callable[[Objects], None]) -> None:
        current = runtime.current()
        current.post(lambda: work(current.objects))

    def services(self) -> list[str]:
        return list(runtime.current().gateway.live.table.services)

    def is_changing(self, tags: Iterable[str]) -> bool:
        return model_changes.is_changing(tags)

    async def _work(self, work: Work[T]) -> T:
        return await work(runtime.current().objects)


cache: Final = CacheService(_RunningGateway())


def invalidates_on_change(model: type[models.Model], tags: Iterable[str], service: str | None = None) -> None:
    """Invalidate `tags` whenever a row of `model` is saved or deleted, once its transaction is committed.

    `{name}` in a tag is replaced by that attribute of the row: `mailbox:{user_id}`. Responses and values of all
    services are invalidated, or of `service` alone. Bulk updates send no signal. Called in an app's `ready()`: rows of
    proxies and of models that inherit from `model` are its rows too. Raises TypeError or ValueError for what are no
    tags, or name an attribute that the model does not have.
    """
    bound = cache if service is None else cache.for_service(service)
    model_changes.connect(model, checked_tags(tags), bound.invalidate_tag, service)
