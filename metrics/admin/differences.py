"""Differences of two configurations as pages show them."""

from typing import Any, Final, NamedTuple

from routing.configuration.document import inline
from routing.database.document_diff import DocumentDiff

MAX_SHOWN: Final = 500
"""The most changes that a page lists. The unified diff below them is complete."""


class ShownChange(NamedTuple):
    """Where, and what it was and is; None if it was or is not there."""

    place: str
    old: str | None
    new: str | None


def readable(diff: DocumentDiff) -> list[ShownChange]:
    """`crm: cache / ttl`, 300 and 10m."""
    shown = [ShownChange(name, None, inline(value)) for name, value in diff.created.items()]
    for name, changes in diff.changed.items():
        shown += [ShownChange(_place(name, each.pointer), _text(each.old), _text(each.new)) for each in changes]
    shown += [ShownChange(name, inline(value), None) for name, value in diff.deleted.items()]
    return shown[:MAX_SHOWN]


def _place(name: str, pointer: str) -> str:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[3:]]
    return f"{name}: {' / '.join(steps)}" if steps else name


def _text(value: Any) -> str | None:
    return None if value is None else inline(value)
