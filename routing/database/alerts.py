"""Reads and applies the alerts of a configuration document."""

from collections.abc import Collection, Iterable
from typing import Any

from routing.configuration.alerts import alert_name
from routing.configuration.document import plain
from routing.database.named_rows import Changes, WantedRow, apply_rows, stored_documents
from routing.models import AlertRule


def alert_label(name: str) -> str:
    """An alert's name among those of services, which have no spaces."""
    return f"alert {name}"


def raw_alerts() -> list[dict[str, Any]]:
    """The settings of each alert. One whose row cannot be read has none, so that it does nothing."""
    return stored_documents(AlertRule, "name")


def absent_alerts(items: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """The labels of the alerts that the database contains and these items do not."""
    names = AlertRule.objects.exclude(name__in=list(map(alert_name, items)))
    return tuple(map(alert_label, names.values_list("name", flat=True)))


def apply_alerts(items: Iterable[dict[str, Any]], delete: Collection[str] | None, origin: str) -> Changes:
    """Make the database match canonical items. Alerts that these lack are deleted: all, or those labelled in
    `delete`.
    """
    wanted = {alert_name(item): WantedRow.of(plain(item), ["name"]) for item in items}
    return apply_rows(AlertRule, "name", wanted, label=alert_label, delete=delete, origin=origin)
