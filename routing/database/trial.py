"""Tries a change of the configuration: makes it, compares the documents, and undoes it."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import transaction

from routing.configuration.document import canonical
from routing.database import masking
from routing.database.approval_rule import needs_approval
from routing.database.document_diff import DocumentDiff, document_diff, parts
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

    def needs_approval(self) -> bool:
        """Whether anything that differs does."""
        old, new = parts(self.before), parts(self.after)
        nothing = ((), None)
        return any(
            needs_approval((new.get(name) or old[name])[0], old.get(name, nothing)[1], new.get(name, nothing)[1])
            for name in old.keys() | new.keys()
            if old.get(name) != new.get(name)
        )


def present_document() -> dict[str, Any]:
    """The document that the history records: without teams and consumers."""
    return canonical(masking.masked_document().structure)


def try_change(change: Callable[[], T], document: Callable[[], dict[str, Any]] = present_document) -> Trial[T]:
    """Nothing that `change` writes to the database stays, and nothing that it does on commit happens.

    `document` reads what is compared, masked and in canonical form.
    """
    with transaction.atomic():
        lock_configuration()
        before = document()
        result = change()
        after = document()
        transaction.set_rollback(True)
    return Trial(result, before, after)
