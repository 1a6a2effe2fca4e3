"""Reads and applies the issuers of a configuration document."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from routing.configuration.document import plain
from routing.models import Issuer

_CORRUPT: Final = (ValueError, TypeError, AttributeError)
ORIGIN: Final = "environment"
"""The origin of issuers that the variable ISSUERS has created."""


def issuer_label(issuer: str) -> str:
    """An issuer's name among those of services, which have no spaces."""
    return f"issuer {issuer}"


def raw_issuers() -> list[dict[str, Any]]:
    """The settings of each issuer. One whose row cannot be read has none, so that it accepts no token."""
    try:
        return [row.to_document() for row in Issuer.objects.all()]
    except _CORRUPT:
        return [_readable(issuer) for issuer in Issuer.objects.values_list("issuer", flat=True)]


def _readable(issuer: str) -> dict[str, Any]:
    try:
        return Issuer.objects.get(issuer=issuer).to_document()
    except _CORRUPT:
        return {"issuer": issuer}


class IssuerChanges:
    """The labels of the issuers that were created, updated and deleted."""

    def __init__(self, created: Iterable[str], updated: Iterable[str], deleted: Iterable[str]) -> None:
        self.created, self.updated, self.deleted = (
            tuple(map(issuer_label, names)) for names in (created, updated, deleted)
        )


def absent_issuers(items: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """The labels of the issuers that the database contains and these items do not."""
    names = Issuer.objects.exclude(issuer__in=[str(item.get("issuer")) for item in items])
    return tuple(map(issuer_label, names.values_list("issuer", flat=True)))


def apply_issuers(items: Iterable[dict[str, Any]], delete: Collection[str] | None, origin: str) -> IssuerChanges:
    """Make the database match canonical items. Issuers that these lack are deleted: all, or those labelled in
    `delete`.
    """
    wanted = {str(item["issuer"]): item for item in items}
    rows = {row.issuer: row for row in Issuer.objects.all()}
    deleted = [name for name in rows if name not in wanted and (delete is None or issuer_label(name) in delete)]
    for name in deleted:
        rows[name].delete()
    updated = []
    for name, item in wanted.items():
        settings = {key: value for key, value in item.items() if key not in ("issuer", "enabled")}
        row = rows.get(name) or Issuer(issuer=name, origin=origin)
        before, after = (row.enabled, plain(row.settings)), (item.get("enabled", True), plain(settings))
        if before != after or name not in rows:
            row.enabled, row.settings = item.get("enabled", True), settings
            row.save()
            updated.append(name)
    return IssuerChanges(
        [name for name in updated if name not in rows], [name for name in updated if name in rows], deleted
    )
