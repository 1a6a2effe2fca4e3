"""Tags that go when a Django model's rows change: `invalidates_on_change(Channel, tags=["channels"])`."""

import logging
import re
from collections.abc import Iterable
from typing import Any, Final

from django.db import models, transaction
from django.db.models.signals import post_delete, post_save

from resilience.cache.service import SERVICE
from resilience.outage import StoreUnavailable
from routing import runtime

log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 5.0
"""Longest that whoever committed waits until every worker has been told."""
_FIELD: Final = re.compile(r"\{(\w+)\}")


def invalidates_on_change(model: type[models.Model], tags: Iterable[str], service: str = SERVICE) -> None:
    """From now on, each row of `model` saved or deleted takes back `tags`, once its transaction is committed.

    `{name}` in a tag is that attribute of the row: `mailbox:{user_id}`. Without `service` they are tags of the
    values of CacheService. Bulk updates send no signal.
    """
    tags = tuple(tags)

    def changed(sender: type[models.Model], instance: models.Model, using: str, **_: object) -> None:  # noqa: ARG001
        filled = [_FIELD.sub(lambda found: str(getattr(instance, found[1])), tag) for tag in tags]
        transaction.on_commit(lambda: _take_back(service, filled), using=using, robust=True)

    for signal in (post_save, post_delete):
        uid = f"invalidates.{model._meta.label}.{service}.{tags}"
        signal.connect(changed, sender=model, weak=False, dispatch_uid=uid)


def _take_back(service: str, tags: list[str]) -> None:
    running: Any = runtime.current()
    try:
        running.submit(running.cache.invalidate(service, tags)).result(WAIT_SECONDS)
    except StoreUnavailable:
        log.warning("tags of %s could not be taken back: the store is away", service)
