"""Writes rows of the configuration only where they differ."""

import json
from collections.abc import Sequence
from copy import copy
from typing import Any, Final, TypeVar

from django.db import models
from django.db.models.signals import post_save, pre_save

from routing.configuration.document import plain

Row = TypeVar("Row", bound=models.Model)
_SCALARS: Final = (str, int, bool, type(None))


def write(row: models.Model, fields: dict[str, Any]) -> bool:
    """Save the row if it is new or differs, and return whether it was saved."""
    if row._state.adding:
        assign(row, fields)
    else:
        differing = {name: value for name, value in fields.items() if not _is_equal(getattr(row, name), value)}
        if not differing:
            return False
        row._stored = copy(row)  # type: ignore[attr-defined] # for `take_stored`
        assign(row, differing)
    row.save()
    return True


def assign(row: models.Model, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        setattr(row, name, value)


def take_stored(row: models.Model) -> models.Model | None:
    """The row as the database has it, if `write` is saving it: receivers of `pre_save` need not read it again."""
    stored: models.Model | None = row.__dict__.pop("_stored", None)
    return stored


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
