"""Tags that changed rows of Django models invalidate, once their transactions are committed."""

import logging
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from django.apps import apps
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_save, pre_delete

from resilience.outage import StoreUnavailable

log = logging.getLogger(__name__)

_ATTRIBUTE: Final = re.compile(r"\{(\w+)\}")


@dataclass
class _Invalidation:
    """Called once the transaction is committed; until then Django keeps it with the connection.

    Tests that run within a transaction call it there, and it is kept: it `is_done` then.
    """

    tags: frozenset[str]
    invalidate: Callable[[str], object]
    is_done: bool = False

    def __call__(self) -> None:
        self.is_done = True
        missed = [tag for tag in sorted(self.tags) if not self._reaches(tag)]
        if missed:
            log.warning("the tags %s could not be invalidated: the store is unavailable", ", ".join(missed))

    def _reaches(self, tag: str) -> bool:
        try:
            self.invalidate(tag)
        except StoreUnavailable:
            return False
        return True


def is_changing(tags: Iterable[str]) -> bool:
    """Whether this thread has an open transaction that invalidates one of the tags when it is committed."""
    return any(
        not call.is_done and not call.tags.isdisjoint(tags)
        for connection in connections.all(initialized_only=True)
        if connection.in_atomic_block
        for _, call, *_ in connection.run_on_commit
        if isinstance(call, _Invalidation)
    )


def _is_registered(connection: BaseDatabaseWrapper, invalidation: _Invalidation) -> bool:
    """Whether the latest function of the transaction, within the same savepoints, is the same: many rows in a row
    invalidate their tags once.
    """
    if not connection.in_atomic_block or not connection.run_on_commit:
        return False
    savepoints, call, *_ = connection.run_on_commit[-1]
    return call == invalidation and savepoints == set(connection.savepoint_ids)


def connect(
    model: type[models.Model], tags: Collection[str], invalidate: Callable[[str], object], service: str | None
) -> None:
    """Call `invalidate` with each of `tags` when rows of `model` have changed, through whichever class: a proxy, or a
    model that inherits from it. Raises ValueError for a tag with an attribute that the model does not have.
    """
    for tag in tags:
        _check(model, tag)

    def changed(sender: type[models.Model], instance: models.Model, using: str, **_: object) -> None:  # noqa: ARG001 - Django's signature
        filled = frozenset(_ATTRIBUTE.sub(lambda found: str(getattr(instance, found[1])), tag) for tag in tags)
        invalidation = _Invalidation(filled - {""}, invalidate)
        if not _is_registered(connections[using], invalidation):
            transaction.on_commit(invalidation, using=using, robust=True)

    uid = f"invalidates.{model._meta.label}.{service}.{tags}"
    for sender in _classes(model):
        post_save.connect(changed, sender=sender, weak=False, dispatch_uid=uid)
        # Not post_delete: an attribute that was deferred could not be read any more.
        pre_delete.connect(changed, sender=sender, weak=False, dispatch_uid=uid)


def _check(model: type[models.Model], tag: str) -> None:
    unknown = [name for name in _ATTRIBUTE.findall(tag) if not hasattr(model, name)]
    if unknown:
        raise ValueError(f"{tag!r}: {model.__name__} has no attribute {unknown[0]!r}")
    if set(_ATTRIBUTE.sub("", tag)) & {"{", "}"}:
        raise ValueError(f"{tag!r}: braces enclose the name of one attribute, as in {{user_id}}")


def _classes(model: type[models.Model]) -> list[type[models.Model]]:
    """Signals have the class of the instance as their sender."""
    concrete = model._meta.concrete_model
    return [
        other
        for other in apps.get_models(include_auto_created=True)
        if issubclass(other, model) or (concrete is not None and other._meta.concrete_model is concrete)
    ]
