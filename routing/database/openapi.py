"""Stores the OpenAPI documents of services, and makes routes of their operations."""

import json
from collections.abc import Collection
from typing import Any

import msgspec
from django.db import transaction

from routing.configuration.decode import VERSION
from routing.configuration.document import canonical
from routing.configuration.faults import ConfigurationError, Fault
from routing.database.actor import acting_as, current_actor
from routing.database.apply import apply_document
from routing.database.loader import raw_service
from routing.database.locks import lock_configuration
from routing.models import Service, ServiceDocument
from routing.openapi.document import OpenApi
from routing.openapi.merging import Merged, merge
from routing.openapi.operations import DocumentRoute, Operations, operations
from routing.openapi.servers import first_server


class ImportOptions(msgspec.Struct, frozen=True):
    """`routes`: make routes, rather than only store the document. `targets`: the document's first server becomes the
    target, of a new service if there is none. `prune` and `restore` are as in `merge`.
    """

    routes: bool = True
    targets: bool = False
    prune: bool = False
    restore: bool = False
    dry_run: bool = False


class ImportReport(msgspec.Struct, frozen=True):
    """What an import has changed or, of a dry run, would change. `target` is the new one; None if it stays."""

    service: str
    title: str
    version: str
    is_new: bool
    document_changed: bool
    merged: Merged
    target: str | None
    sets_trailing_slash: bool
    warnings: tuple[str, ...]

    @property
    def has_changes(self) -> bool:
        merged = self.merged
        edits = merged.added or merged.changed or merged.removed or self.target or self.sets_trailing_slash
        return bool(self.is_new or self.document_changed or edits)


def openapi_of(service_name: str) -> dict[str, Any] | None:
    """The service's OpenAPI document; None if it has none."""
    texts = ServiceDocument.objects.filter(service__name=service_name).values_list("document", flat=True)
    text = texts.first()
    document: dict[str, Any] | None = None if text is None else json.loads(text)
    return document


def titles_of(service_names: Collection[str]) -> dict[str, str]:
    """The titles of the documents of those services that have one."""
    rows = ServiceDocument.objects.filter(service__name__in=service_names)
    return dict(rows.values_list("service__name", "title"))


def import_document(name: str, document: OpenApi, options: ImportOptions) -> ImportReport:
    """Store the document for a service, and merge its operations into the routes of that.

    Raises ConfigurationError, without a change.
    """
    found = operations(document.structure) if options.routes else Operations((), (), False)
    note = f"imported {document.title} {document.version} for {name}"
    with acting_as(current_actor().name, note), transaction.atomic():
        lock_configuration()
        stored = raw_service(name)
        item, target, warnings = _with_target(name, stored, document, options)
        item, slash = _with_trailing_slash(item, found)
        row = ServiceDocument.objects.filter(service__name=name).first()
        merged = _merged(item.get("routes", []), found, _imported(row), options)
        apply_document({"version": VERSION, "services": {name: {**item, "routes": merged.routes}}}, delete=())
        changed = _store(name, row, document, merged)
        if options.dry_run:
            transaction.set_rollback(True)
    return ImportReport(
        name,
        document.title,
        document.version,
        stored is None,
        changed,
        merged,
        target,
        slash,
        (*document.warnings, *found.warnings, *warnings),
    )


def _merged(
    routes: list[dict[str, Any]], found: Operations, imported: list[DocumentRoute], options: ImportOptions
) -> Merged:
    if not options.routes:
        return Merged(routes, imported=tuple(imported))
    return merge(routes, found.routes, imported, prune=options.prune, restore=options.restore)


def _with_target(
    name: str, stored: dict[str, Any] | None, document: OpenApi, options: ImportOptions
) -> tuple[dict[str, Any], str | None, tuple[str, ...]]:
    """The service in canonical form, its new target if it gets one, and warnings. Raises ConfigurationError."""
    if stored is None and not options.targets:
        message = f"there is no service {name!r}; with --targets, the document's first server makes one"
        raise ConfigurationError([Fault((), message)])
    services = {} if stored is None else {name: stored}
    item: dict[str, Any] = canonical({"version": VERSION, "services": services})["services"].get(name, {})
    if not options.targets:
        return item, None, ()
    address, warnings = first_server(document.structure)
    if [target["url"] for target in item.get("targets", ())] == [address]:
        return item, None, warnings
    return {**item, "targets": [{"url": address}]}, address, warnings


def _with_trailing_slash(item: dict[str, Any], found: Operations) -> tuple[dict[str, Any], bool]:
    """The service with patterns that also match paths with a slash at the end, where the document has such paths.

    A setting by hand stays.
    """
    paths = item.get("paths") or {}
    if not found.has_trailing_slashes or "trailing_slash" in paths:
        return item, False
    return {**item, "paths": {**paths, "trailing_slash": "same"}}, True


def _imported(row: ServiceDocument | None) -> list[DocumentRoute]:
    """The operations of the previous import."""
    return [DocumentRoute(each["path"], tuple(each["methods"])) for each in (row.routes if row is not None else ())]


def _store(name: str, row: ServiceDocument | None, document: OpenApi, merged: Merged) -> bool:
    """Save the document and what was imported, and return whether the document differs."""
    routes = [{"path": path, "methods": list(methods)} for path, methods in merged.imported]
    is_same = row is not None and row.document == document.text
    if row is None:
        row = ServiceDocument(service=Service.objects.get(name=name))
    if not is_same or row.routes != routes:
        row.document, row.title, row.version = document.text, document.title, document.version
        row.routes, row.actor = routes, current_actor().name[:200]
        row.save()
    return not is_same
