"""Whoever saves configuration: its version goes up with it, this process's reloader is told, and history keeps it.

Bulk updates send no signal; the reloader's periodic full read finds those.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from django.db import models, transaction
from django.db.models import F
from django.db.models.signals import post_delete, post_save
from django.dispatch import Signal

from routing.database import revisions
from routing.models import ApiKey, ConfigurationVersion, Route, Service, Target

on_change: Final[list[Callable[[], None]]] = []
"""Called after each committed change, in the thread that made it."""

operation_performed: Final = Signal()
"""Sent after a command has done something to a running gateway: `actor`, `action`, `service`, `before`, `after`."""

_THE_ROW: Final = 1


def connect() -> None:
    for model in (Service, Target, Route, ApiKey):
        for signal in (post_save, post_delete):
            signal.connect(_changed, sender=model, dispatch_uid=f"routing.{model.__name__}")
    for signal in (post_save, post_delete):
        signal.connect(_ended, sender=ApiKey, dispatch_uid="routing.ApiKey.ended")


def _ended(instance: ApiKey, using: str, created: bool | None = None, **_: object) -> None:
    """A key that was revoked (`created` False) or deleted (None) ends its sockets, on every worker, at once."""
    if created is None or (not created and instance.revoked_at is not None):
        from routing.realtime.control import publish_revocation  # noqa: PLC0415 - few of Django's commands need Channels

        transaction.on_commit(partial(publish_revocation, instance.prefix), using=using, robust=True)


def _changed(sender: type[models.Model], using: str, **_: object) -> None:  # noqa: ARG001 - Django's signature
    bump(using)


def bump(using: str | None = None) -> None:
    """Counts the configuration's version up, and tells the reloader when that is committed."""
    rows = ConfigurationVersion.objects.using(using)
    if not rows.filter(pk=_THE_ROW).update(number=F("number") + 1):
        rows.get_or_create(pk=_THE_ROW)
        rows.filter(pk=_THE_ROW).update(number=F("number") + 1)
    connection = transaction.get_connection(using)
    # One transaction may write hundreds of rows; it is one change. A nudge that fails must not fail who saved.
    if not any(callback is _after_commit for _, callback, _ in connection.run_on_commit):
        transaction.on_commit(_after_commit, using=using, robust=True)


def _after_commit() -> None:
    for wake in tuple(on_change):
        wake()
    revisions.record_revision()
