"""Invalidation of tags when rows of a Django model change."""

import logging
import re
from collections.abc import Iterable
from typing import Final

from django.db import models, transaction
from django.db.models.signals import post_delete, post_save

from resilience.outage import StoreUnavailable
from routing.cache import cache

log = logging.getLogger(__name__)

_FIELD: Final = re.compile(r"\{(\w+)\}")


def invalidates_on_change(model: type[models.Model], tags: Iterable[str], service: str | None = None) -> None:
    """Invalidate `tags` whenever a row of `model` is saved or deleted, once its transaction is committed.

    `{name}` in a tag is replaced by that attribute of the row: `mailbox:{user_id}`. Responses and values of all
    services are invalidated, or of `service` alone. Bulk updates send no signal.
    """
    tags = tuple(tags)
    bound = cache.for_service(service) if service else cache

    def changed(sender: type[models.Model], instance: models.Model, using: str, **_: object) -> None:  # noqa: ARG001
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
