"""Reads and applies the alerts of a configuration document."""

from collections.abc import Collection, Iterable
from typing import Any, Final, NamedTuple

from routing.configuration.alerts import alert_name
from routing.configuration.document import plain
from routing.database.rows import write
from routing.models import AlertRule

_CORRUPT: Final = (ValueError, TypeError, AttributeError)
_COLUMNS: Final = ("name", "enabled")


class AlertChanges(NamedTuple):
    """The labels of the alerts that were created, updated and deleted."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    deleted: tuple[str, ...]


def alert_label(name: str) -> str:
    """An alert's name among those of services, which have no spaces."""
    return f"alert {name}"


def raw_alerts() -> list[dict[str, Any]]:
    """The settings of each alert. One whose row cannot be read has none, so that it does nothing."""
    try:
        return [row.to_document() for row in AlertRule.objects.all()]
    except _CORRUPT:
        return [_readable(name) for name in AlertRule.objects.values_list("name", flat=True)]


def _readable(name: str) -> dict[str, Any]:
    try:
        return AlertRule.objects.get(name=name).to_document()
    except _CORRUPT:
        return {"name": name}


def absent_alerts(items: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """The labels of the alerts that the database contains and these items do not."""
    names = AlertRule.objects.exclude(name__in=list(map(alert_name, items)))
    return tuple(map(alert_label, names.values_list("name", flat=True)))


def apply_alerts(items: Iterable[dict[str, Any]], delete: Collection[str] | None, origin: str) -> AlertChanges:
    """Make the database match canonical items. Alerts that these lack are deleted: all, or those labelled in
    `delete`.
    """
    wanted = {alert_name(item): item for item in items}
    rows = {row.name: row for row in AlertRule.objects.all()}
    deleted = [name for name in rows if name not in wanted and (delete is None or alert_label(name) in delete)]
    for name in deleted:
        rows[name].delete()
    updated = []
    for name, item in wanted.items():
        settings = plain({key: value for key, value in item.items() if key not in _COLUMNS})
        row = rows.get(name) or AlertRule(name=name, origin=origin)
        if write(row, {"enabled": item.get("enabled", True), "settings": settings}) and name in rows:
            updated.append(name)
    created = [name for name in wanted if name not in rows]
    return AlertChanges(*(tuple(map(alert_label, names)) for names in (created, updated, deleted)))
