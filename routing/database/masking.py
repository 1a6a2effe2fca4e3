"""Masks the secrets that the database contains as they are, for everything that shows the configuration."""

from hashlib import blake2b
from typing import Any

import msgspec
from django.conf import settings

from routing.configuration import literals
from routing.configuration.document import Document
from routing.configuration.faults import ConfigurationError
from routing.configuration.literals import Masked
from routing.database.loader import raw_document


def mask(structure: Any) -> Masked:
    """The document with masks in place of secrets, with this installation's key."""
    return literals.mask(structure, _key())


def masked_document() -> Masked:
    """The configuration in the database, masked."""
    return mask(raw_document())


def unmask(structure: Any) -> Any:
    """The document with the stored secrets that its masks stand for. Raises ConfigurationError."""
    return literals.unmask(structure, masked_document().secrets) if literals.has_masks(structure) else structure


def unmasked(document: Document) -> Document:
    """The same, for a parsed file: faults have their lines."""
    try:
        return msgspec.structs.replace(document, structure=unmask(document.structure))
    except ConfigurationError as error:
        raise ConfigurationError(document.located(error.faults)) from None


def _key() -> bytes:
    return blake2b(settings.SECRET_KEY.encode(), person=b"secret masks").digest()
