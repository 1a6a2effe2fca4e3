"""Writes rows of the configuration only where they differ."""

import json
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from django.db import models
from django.db.models.signals import post_save, pre_save

from routing.configuration.document import plain

Row = TypeVar("Row", bound=models.Model)
_SCALARS: Final = (str, int, bool, type(None))


def write(row: models.Model, fields: dict[str, Any]) -> bool:
    """Save the row if it is new or differs, and return whether it was saved."""
    if assign(row, fields) or row._state.adding:
        row.save()
        return True
    return False


def assign(row: models.Model, fields: dict[str, Any]) -> bool:
    """Give the row these values, and return whether any differs."""
    if row._state.adding:
        differing = fields
    else:
        differing = {name: value for name, value in fields.items() if not _is_equal(getattr(row, name), value)}
    for name, value in differing.items():
        setattr(row, name, value)
    return bool(differing)


def create(model: type[Row], rows: Sequence[Row]) -> None:
    """Insert new rows with few statements. Their signals are sent, as `save` would."""
    if not rows:
        return
    manager = model._default_manager
    using = manager.db
    for row in rows:
        pre_save.send(model, instance=row, raw=False, using=using, update_fields=None)
    manager.bulk_create(rows)
    for row in rows:
        post_save.send(model, instance=row, created=True, raw=False, using=using, update_fields=None)


def _is_equal(left: Any, right: Any) -> bool:
    """Compare as configurations: in Python `1 == True`, there they differ."""
    if isinstance(left, _SCALARS) and type(left) is type(right):
        return bool(left == right)
    return _normalized(left) == _normalized(right)


def _normalized(value: Any) -> str:
    """A value as canonical JSON."""
    return json.dumps(plain(value), sort_keys=True, default=str)
