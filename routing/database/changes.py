"""Which rows were changed at which version of the configuration.

Versions are committed in their order: each transaction that increments the version holds its row until it ends. Who has
seen version 7 can therefore read what happened since, and misses nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from django.db import models, transaction
from django.db.models import F

from routing.database.deferred import defer
from routing.models import ApiKey, ConfigurationChange, ConfigurationVersion, Consumer, ConsumerIdentity, Plan, Team

MAX_CHANGES: Final = 2_000
"""Rows that are read one by one. After more of them, all are read again."""
KEPT: Final = 10_000
"""Versions whose changes are kept. Who has not looked since an older one reads everything."""
_ROW: Final = 1
_PRUNE_EVERY: Final = 500


class RowKind(StrEnum):
    """What a changed row is. All that is not listed is `configuration`: it is always read as a whole."""

    KEY = "key"
    CONSUMER = "consumer"
    IDENTITY = "identity"
    TEAM = "team"
    PLAN = "plan"
    CONFIGURATION = "configuration"


_KINDS: Final[Mapping[type[models.Model], RowKind]] = {
    ApiKey: RowKind.KEY,
    Consumer: RowKind.CONSUMER,
    ConsumerIdentity: RowKind.IDENTITY,
    Team: RowKind.TEAM,
    Plan: RowKind.PLAN,
}

Changed = Mapping[RowKind, set[int]]
"""The ids of changed rows."""


def current_version() -> int:
    return ConfigurationVersion.objects.values_list("number", flat=True).first() or 0


def increment_version(using: str | None = None) -> int:
    """Increment the version and return it. Without a recorded change, everything is read again."""
    rows = ConfigurationVersion.objects.using(using)
    if not rows.filter(pk=_ROW).update(number=F("number") + 1):
        rows.get_or_create(pk=_ROW)
        rows.filter(pk=_ROW).update(number=F("number") + 1)
    return rows.values_list("number", flat=True).get(pk=_ROW)


def record_change(instance: models.Model, using: str) -> None:
    """Increment the version for a row that was saved or deleted. In one transaction: with the row locked, no other
    version comes between.
    """
    kind = _KINDS.get(type(instance), RowKind.CONFIGURATION)
    if kind is RowKind.CONFIGURATION:  # which is read as a whole, whatever has changed: one version is enough for many
        defer(_record_configuration, using)
    else:
        _record(kind, 0 if instance.pk is None else instance.pk, using)


def _record_configuration(databases: list[str]) -> None:
    for using in dict.fromkeys(databases):
        _record(RowKind.CONFIGURATION, 0, using)


def _record(kind: RowKind, row: int, using: str) -> None:
    with transaction.atomic(using=using, savepoint=False):
        version = increment_version(using)
        changes = ConfigurationChange.objects.using(using)
        changes.create(version=version, kind=kind, row=row)
        if version % _PRUNE_EVERY == 0:
            changes.filter(version__lte=version - KEPT).delete()


def changed_since(seen: int, version: int) -> Changed | None:
    """What was changed after version `seen`, up to `version`. None if that is not known, or is too much."""
    if version < seen:
        return None
    rows = ConfigurationChange.objects.filter(version__gt=seen, version__lte=version)
    found = list(rows.values_list("version", "kind", "row")[: MAX_CHANGES + 1])
    if len(found) > MAX_CHANGES or len({number for number, _, _ in found}) != version - seen:
        return None
    changed: dict[RowKind, set[int]] = {}
    for _, kind, row in found:
        changed.setdefault(RowKind(kind), set()).add(row)
    return changed
