"""Masks the secrets that the database contains as they are, for everything that shows the configuration."""

from hashlib import blake2b
from typing import Any, Final

import msgspec
from django.conf import settings

from routing.configuration import literals
from routing.configuration.document import Document
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.literals import Masked
from routing.database import loader

_MOVED: Final = "the value that {} stands for is not stored here, or was changed since"


def mask(structure: Any) -> Masked:
    """The document with masks in place of secrets, with this installation's key."""
    return literals.mask(structure, _key())


def masked_document() -> Masked:
    """The configuration in the database, masked."""
    return mask(loader.raw_document())


def whole_document() -> Masked:
    """The same with teams and consumers."""
    return mask(loader.whole_document())


def unmask(structure: Any) -> Any:
    """The document with the stored secrets that its masks stand for, each in the field of the service that has it.

    Raises ConfigurationError.
    """
    if not literals.has_masks(structure):
        return structure
    stored = masked_document()
    known = {_place(field) for field in literals.fields(stored.structure)}
    moved = [field for field in literals.fields(structure) if literals.is_masked(field.value)]
    faults = [Fault(field.path, _MOVED.format(field.value)) for field in moved if _place(field) not in known]
    if faults:
        raise ConfigurationError(faults)
    return literals.unmask(structure, stored.secrets)


def _place(field: literals.Field) -> tuple[str, str, str]:
    return field.owner, field.name.lower(), str(field.value)


def unmasked(document: Document) -> Document:
    """The same, for a parsed file: faults have their lines."""
    try:
        return msgspec.structs.replace(document, structure=unmask(document.structure))
    except ConfigurationError as error:
        raise ConfigurationError(document.located(error.faults)) from None


def _key() -> bytes:
    return blake2b(settings.SECRET_KEY.encode(), person=b"secret masks").digest()
