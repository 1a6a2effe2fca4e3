"""The gateway's cache for Django code.

    from routing.cache import cache, invalidates_on_change

    cache.get_or_set("channels", load_channels, ttl=60, tags=["slack:channels"])
    await cache.aget("channels")

Works in a worker, in a management command, and under a WSGI or ASGI server of the project's own, where it starts the
gateway's event loop in a thread on first use. docs/caching.md has an example.
"""

import asyncio
import logging
import re
from collections.abc import Iterable
from typing import Final, TypeVar

from django.core.exceptions import SynchronousOnlyOperation
from django.db import models, transaction
from django.db.models.signals import post_delete, post_save

from resilience.cache.service import CacheService, Work
from resilience.outage import StoreUnavailable
from routing import runtime

log = logging.getLogger(__name__)

_FIELD: Final = re.compile(r"\{(\w+)\}")

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

    def services(self) -> list[str]:
        return list(runtime.current().gateway.live.table.services)

    async def _work(self, work: Work[T]) -> T:
        return await work(runtime.current().objects)


cache: Final = CacheService(_RunningGateway())


def invalidates_on_change(model: type[models.Model], tags: Iterable[str], service: str | None = None) -> None:
    """Invalidate `tags` whenever a row of `model` is saved or deleted, once its transaction is committed.

    `{name}` in a tag is replaced by that attribute of the row: `mailbox:{user_id}`. Responses and values of all
    services are invalidated, or of `service` alone. Bulk updates send no signal.
    """
    tags = tuple(tags)
    bound = cache.for_service(service) if service else cache

    def changed(sender: type[models.Model], instance: models.Model, using: str, **_: object) -> None:  # noqa: ARG001 - Django's signature
        filled = [_FIELD.sub(lambda found: str(getattr(instance, found[1])), tag) for tag in tags]
        transaction.on_commit(lambda: _invalidate(filled), using=using, robust=True)

    def _invalidate(filled: list[str]) -> None:
        try:
            for tag in filled:
                bound.invalidate_tag(tag)
        except StoreUnavailable:
            log.warning("the tags %s could not be invalidated: the store is unavailable", ", ".join(filled))

    for signal in (post_save, post_delete):
        uid = f"invalidates.{model._meta.label}.{service}.{tags}"
        signal.connect(changed, sender=model, weak=False, dispatch_uid=uid)
