"""Reads and writes the configuration as one document, as `config export` and `config apply` do, with a precondition, in
one transaction.
"""

import json
from collections.abc import Callable, Collection, Iterable
from hashlib import blake2b
from typing import Any, Final

import msgspec
from django.conf import settings
from django.db import transaction

from routing.configuration.decode import VERSION
from routing.configuration.document import Document, canonical
from routing.configuration.faults import ConfigurationError
from routing.configuration.literals import literal_secrets
from routing.configuration_errors import InUse, WouldDelete
from routing.database import masking
from routing.database.apply import absent_names, apply_document
from routing.database.bounds import check_bounds
from routing.database.document_diff import DocumentDiff, document_diff
from routing.database.document_parts import owner
from routing.database.locks import lock_configuration
from routing.database.references import references
from routing.database.startup_file import ORIGIN
from routing.models import ANY_SECRET, Service, own_hosts
from routing.rights import Names
from routing.router.table import Service as ServicePolicy

_UNDONE: Final = "the file of GATEWAY_CONFIG sets this service again at the next start; change it there"


class WriteOptions(msgspec.Struct, frozen=True):
    """As the options of `config apply`. `dry_run`: change nothing, and report also what only `prune` would delete."""

    prune: bool = False
    dry_run: bool = False
    allow_literal_secrets: bool = False
    allow_missing_secrets: bool = False


class Written(msgspec.Struct, frozen=True):
    """The differences, the document as it is or, after a dry run, would be, and what its author may not have meant."""

    diff: DocumentDiff
    document: dict[str, Any]
    warnings: tuple[str, ...] = ()


Precondition = Callable[[dict[str, Any]], None]
"""Raises GatewayError if the present document is not the one that the request means to change."""


def stored_document(names: Names = None) -> dict[str, Any]:
    """What `config export` writes: masked, in canonical form."""
    masked = masking.whole_document() if names is None else masking.masked_document()
    return _visible(canonical(masked.structure), names)


def digest(value: Any) -> str:
    """The digest that an entity tag is made of."""
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


def write_document(
    document: Document,
    precondition: Precondition,
    options: WriteOptions,
    names: Names = None,
    delete: Collection[str] | None = None,
    *,
    is_bound: bool = True,
) -> Written:
    """Make the database match the document, as `apply_document`, or report what would change.

    `delete`: what is deleted, if that is not all that the document does not contain. `is_bound`: the author may write
    the services `names` and nothing else.

    Raises ConfigurationError, WouldDelete, InUse, Forbidden and what `precondition` raises, without a change.
    """
    with transaction.atomic():
        lock_configuration()
        before = stored_document(names)
        precondition(before)
        checked, services = _checked(document, before, options, names if is_bound else None)
        structure = checked.structure
        absent = _absent(structure, names) if delete is None else delete
        if absent and delete is None and not (options.prune or options.dry_run):
            listed = ", ".join(sorted(absent))
            raise WouldDelete(f"the document does not contain {listed}; nothing was changed: ?prune=1 deletes them")
        if names is not None or delete is not None:
            _check_unused(absent)
        warnings = [*_owned_by_file(before, structure, absent), *_missing(checked, before, options)]
        apply_document(structure, delete=absent, is_decoded=True)
        after = stored_document(names)
        if options.dry_run:
            transaction.set_rollback(True)
    diff = document_diff(before, after)
    return Written(diff, after, (*warnings, *_doubts(document, services, diff)))


def _doubts(document: Document, services: Iterable[ServicePolicy], diff: DocumentDiff) -> list[str]:
    """What of the parts that change may not be what their author meant."""
    changed = {*diff.created, *diff.changed}
    warnings = document.warnings(services, own_hosts.warnings(services))
    found = [fault for fault in warnings if owner(fault, document.structure) in changed]
    return [str(fault if document.lines else msgspec.structs.replace(fault, line=None)) for fault in found]


def _visible(document: dict[str, Any], names: Names) -> dict[str, Any]:
    if names is None:
        return document
    services = document["services"]
    return {"version": VERSION, "services": {name: services[name] for name in services if name in names}}


def _checked(
    document: Document, before: dict[str, Any], options: WriteOptions, names: Names
) -> tuple[Document, tuple[ServicePolicy, ...]]:
    """The document with the secrets that its masks stand for, and its services, if the caller may write it.

    Raises ConfigurationError and Forbidden.
    """
    structure = document.structure
    faults = [] if options.allow_literal_secrets else literal_secrets(structure)
    if faults:
        raise ConfigurationError(document.located(faults))
    unmasked = masking.unmasked(document)
    services = unmasked.services(
        ANY_SECRET, is_part=True
    )  # faults with their lines, before anything reads the structure
    if names is not None:
        check_bounds(structure, before, names)
    return unmasked, services


def _check_unused(deleted: Collection[str]) -> None:
    """Raise InUse for services that are named by parts that the document does not show."""
    found = references(Service.objects.filter(name__in=deleted)) if deleted else []
    if found:
        raise InUse("; ".join(found))


def _absent(structure: Any, names: Names) -> tuple[str, ...]:
    absent = absent_names(structure)
    return absent if names is None else tuple(name for name in absent if name in names)


def _missing(document: Document, before: dict[str, Any], options: WriteOptions) -> list[str]:
    """Warnings of secrets that are missing on this machine. Raises ConfigurationError for those of parts that change,
    unless they are allowed: what is out of service already does not hinder changes of others.
    """
    try:
        document.services(settings.CONFIG.secret, is_part=True)
    except ConfigurationError as error:
        faults = error.faults
    else:
        return []
    changed = document_diff(before, canonical(masking.mask(document.structure).structure))
    touched = {*changed.created, *changed.changed}
    concerned = [fault for fault in faults if not fault.unresolved or owner(fault, document.structure) in touched]
    if concerned and (not options.allow_missing_secrets or any(not fault.unresolved for fault in concerned)):
        raise ConfigurationError(concerned)
    return [f"out of service until the secret is there: {fault}" for fault in concerned]


def _owned_by_file(before: dict[str, Any], structure: Any, absent: Collection[str]) -> list[str]:
    """Warnings of changes that the file of GATEWAY_CONFIG undoes at the next start."""
    if settings.CONFIG.gateway_config is None:
        return []
    wanted = canonical(masking.mask(structure).structure)["services"]
    touched = {name for name, item in wanted.items() if before["services"].get(name) not in (None, item)}
    owned = Service.objects.filter(origin=ORIGIN, name__in=touched.union(absent)).values_list("name", flat=True)
    return [f"{name}: {_UNDONE}" for name in sorted(owned)]
