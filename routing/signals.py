"""On each saved change of configuration: increments its version, wakes the reloader and records a revision.

Bulk updates send no signal; the reloader's periodic load finds those.
"""

from functools import partial
from typing import Final

from django.db import models, transaction
from django.db.models import F
from django.db.models.signals import post_delete, post_save
from django.dispatch import Signal

from routing.database import revisions
from routing.models import ApiKey, ConfigurationVersion, Route, Service, Target

configuration_changed: Final = Signal()
"""Sent after each committed change, in the thread that made it."""

operation_performed: Final = Signal()
"""Sent after a management command has acted on the gateway: `actor`, `action`, `service`, `before`, `after`."""

_ROW: Final = 1


def connect() -> None:
    for model in (Service, Target, Route, ApiKey):
        for signal in (post_save, post_delete):
            signal.connect(_changed, sender=model, dispatch_uid=f"routing.{model.__name__}")
    for signal in (post_save, post_delete):
        signal.connect(_close_sockets, sender=ApiKey, dispatch_uid="routing.ApiKey.revoked")


def _close_sockets(instance: ApiKey, using: str, created: bool | None = None, **_: object) -> None:
    """Close the sockets of a revoked (`created` False) or deleted (`created` None) key on every worker."""
    if created is None or (not created and instance.revoked_at is not None):
        from routing.realtime.control import publish_revocation  # noqa: PLC0415 - few commands need Channels

        transaction.on_commit(partial(publish_revocation, instance.prefix), using=using, robust=True)


def _changed(sender: type[models.Model], using: str, **_: object) -> None:  # noqa: ARG001 - Django's signature
    increment_version(using)


def increment_version(using: str | None = None) -> None:
    """Increment the configuration's version, and call `_after_commit` once the transaction is committed."""
    rows = ConfigurationVersion.objects.using(using)
    if not rows.filter(pk=_ROW).update(number=F("number") + 1):
        rows.get_or_create(pk=_ROW)
        rows.filter(pk=_ROW).update(number=F("number") + 1)
    connection = transaction.get_connection(using)
    # Once per transaction, however many rows it writes. Robust: a failing callback must not fail the save.
    if not any(callback is _after_commit for _, callback, _ in connection.run_on_commit):
        transaction.on_commit(_after_commit, using=using, robust=True)


def _after_commit() -> None:
    configuration_changed.send_robust(sender=None)
    revisions.record_revision()
