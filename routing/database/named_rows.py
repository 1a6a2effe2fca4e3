"""Applies sections of a configuration document whose items are rows with a name, `enabled` and `settings`."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from django.db import models

from routing.database.rows import write
from routing.models import AlertRule, Issuer

_CORRUPT: Final = (ValueError, TypeError, AttributeError)


class Changes(msgspec.Struct, frozen=True):
    """What was created, updated and deleted: services by name, and all others by label, such as `webhook slack`."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.created or self.updated or self.deleted)

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(self.created + other.created, self.updated + other.updated, self.deleted + other.deleted)


class WantedRow(NamedTuple):
    """A row as the document has it."""

    enabled: bool
    settings: dict[str, Any]

    @classmethod
    def of(cls, item: Mapping[str, Any], columns: Collection[str] = ()) -> "WantedRow":
        """The row of a canonical item. `columns` are the keys that are columns besides `enabled`."""
        settings = {key: value for key, value in item.items() if key != "enabled" and key not in columns}
        return cls(item.get("enabled", True), settings)


def stored_documents(model: type[Issuer] | type[AlertRule], column: str) -> list[dict[str, Any]]:
    """The settings of each row. One whose row cannot be read has nothing but its name, so that it has no effect."""
    rows = model._default_manager
    try:
        return [row.to_document() for row in rows.all()]
    except _CORRUPT:
        return [_readable(model, column, name) for name in rows.values_list(column, flat=True)]


def _readable(model: type[Issuer] | type[AlertRule], column: str, name: str) -> dict[str, Any]:
    try:
        return model._default_manager.get(**{column: name}).to_document()
    except _CORRUPT:
        return {column: name}


def apply_rows(
    model: type[models.Model],
    column: str,
    wanted: Mapping[str, WantedRow],
    *,
    label: Callable[[str], str],
    delete: Collection[str] | None,
    origin: str,
) -> Changes:
    """Make the rows of `model` those in `wanted`, which are named by `column`, and write only what differs.

    Rows that it lacks are deleted: all, or those whose labels are in `delete`. `origin` is recorded with new rows.
    """
    rows = {getattr(row, column): row for row in model._default_manager.all()}
    deleted = sorted(name for name in rows if name not in wanted and (delete is None or label(name) in delete))
    for name in deleted:
        rows[name].delete()
    updated = []
    for name, item in wanted.items():
        row = rows.get(name) or model(**{column: name}, origin=origin)
        if write(row, item._asdict()) and name in rows:
            updated.append(name)
    created = [name for name in wanted if name not in rows]
    return Changes(*(_labelled(label, names) for names in (created, updated, deleted)))


def _labelled(label: Callable[[str], str], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(label, names))
