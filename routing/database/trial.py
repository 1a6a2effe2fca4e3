"""Tries a change of the configuration: makes it, compares the documents, and undoes it."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import transaction

from routing.configuration.document import canonical
from routing.database import masking
from routing.database.document_diff import DocumentDiff, document_diff
from routing.database.locks import lock_configuration

T = TypeVar("T")


class Trial(NamedTuple, Generic[T]):
    """What the change returned, and the documents without and with it, masked and in canonical form."""

    result: T
    before: dict[str, Any]
    after: dict[str, Any]

    @property
    def diff(self) -> DocumentDiff:
        return document_diff(self.before, self.after)


def present_document() -> dict[str, Any]:
    """The document that the history records: without teams and consumers."""
    return canonical(masking.masked_document().structure)


def try_change(change: Callable[[], T]) -> Trial[T]:
    """Nothing that `change` writes to the database stays, and nothing that it does on commit happens."""
    with transaction.atomic():
        lock_configuration()
        before = present_document()
        result = change()
        after = present_document()
        transaction.set_rollback(True)
    return Trial(result, before, after)
