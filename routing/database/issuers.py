"""Reads and applies the issuers of a configuration document."""

from collections.abc import Collection, Iterable
from typing import Any, Final

from routing.database.named_rows import Changes, WantedRow, apply_rows, stored_documents
from routing.models import Issuer

ORIGIN: Final = "environment"
"""The origin of issuers that the variable ISSUERS has created."""


def issuer_label(issuer: str) -> str:
    """An issuer's name among those of services, which have no spaces."""
    return f"issuer {issuer}"


def raw_issuers() -> list[dict[str, Any]]:
    """The settings of each issuer. One whose row cannot be read has none, so that it accepts no token."""
    return stored_documents(Issuer, "issuer")


def absent_issuers(items: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """The labels of the issuers that the database contains and these items do not."""
    names = Issuer.objects.exclude(issuer__in=[str(item.get("issuer")) for item in items])
    return tuple(map(issuer_label, names.values_list("issuer", flat=True)))


def apply_issuers(items: Iterable[dict[str, Any]], delete: Collection[str] | None, origin: str) -> Changes:
    """Make the database match canonical items. Issuers that these lack are deleted: all, or those labelled in
    `delete`.
    """
    wanted = {str(item["issuer"]): WantedRow.of(item, ["issuer"]) for item in items}
    return apply_rows(Issuer, "issuer", wanted, label=issuer_label, delete=delete, origin=origin)
