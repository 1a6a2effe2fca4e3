"""On each saved change of configuration: records it, wakes the reloader and records a revision.

Bulk updates send no signal; the reloader's periodic load finds those.
"""

from functools import partial
from typing import Final

from django.db import models, transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import Signal

from routing.database import changes, revisions, touched
from routing.database.members import delete_account
from routing.models import (
    AlertRule,
    ApiKey,
    Consumer,
    ConsumerIdentity,
    Issuer,
    Member,
    Plan,
    Revocation,
    Route,
    Service,
    SigningKey,
    Target,
    Team,
    Webhook,
)

configuration_changed: Final = Signal()
"""Sent after each committed change, in the thread that made it."""
ANNOUNCER: Final = "announcer"
"""The dispatch_uid of the one receiver of `configuration_changed` in a process that tells the workers."""

operation_performed: Final = Signal()
"""Sent after a management command has acted on the gateway: `actor`, `action`, `service`, `before`, `after`."""


def connect() -> None:
    for model in (
        *(Service, Target, Route, Webhook, Issuer, AlertRule, Revocation, ApiKey, SigningKey),
        *(Plan, Team, Consumer, ConsumerIdentity, Member),
    ):
        for signal in (post_save, post_delete):
            signal.connect(_changed, sender=model, dispatch_uid=f"routing.{model.__name__}")
    touched.connect()
    post_delete.connect(_delete_account, sender=Member, dispatch_uid="routing.Member.account")
    for signal in (post_save, post_delete):
        signal.connect(_close_sockets, sender=ApiKey, dispatch_uid="routing.ApiKey.revoked")


def _close_sockets(instance: ApiKey, using: str, created: bool | None = None, **_: object) -> None:
    """Close the sockets of a revoked (`created` False) or deleted (`created` None) key on every worker."""
    if created is None or (not created and instance.revoked_at is not None):
        from routing.realtime.control import publish_revocation  # noqa: PLC0415 - few commands need Channels

        transaction.on_commit(partial(publish_revocation, instance.prefix), using=using, robust=True)


def _delete_account(instance: Member, **_: object) -> None:
    """Delete the account of a removed member, also of one whose consumer is deleted."""
    delete_account(instance.user_id)


def _changed(instance: models.Model, using: str, **_: object) -> None:
    changes.record_change(instance, using)
    _call_after_commit(using)


def increment_version(using: str | None = None) -> None:
    """Let every worker read everything again, after changes that sent no signal."""
    changes.increment_version(using)
    _call_after_commit(using)


def _call_after_commit(using: str | None) -> None:
    """Once per transaction, however many rows it writes."""
    connection = transaction.get_connection(using)
    if not any(callback is _after_commit for _, callback, _ in connection.run_on_commit):
        # Robust: a failing callback must not fail the save.
        transaction.on_commit(_after_commit, using=using, robust=True)


def _after_commit() -> None:
    configuration_changed.send_robust(sender=None)
    revisions.record_revision()
