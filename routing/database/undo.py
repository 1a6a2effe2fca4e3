"""Undoes one change of the history, and leaves what was changed later as it is."""

from typing import Any, Final

from routing.configuration import literals
from routing.configuration.decode import VERSION
from routing.configuration.differences import ABSENT
from routing.configuration.document import parse
from routing.configuration.faults import Path
from routing.configuration.three_way import Conflict, take_back
from routing.database import masking
from routing.database.apply import apply_document
from routing.database.document_diff import parts
from routing.database.named_rows import Changes
from routing.database.revisions import previous_revision
from routing.database.trial import present_document
from routing.models import ConfigurationRevision

LISTS: Final = frozenset({"issuers", "alerts"})
"""Sections that are lists; the others are mappings."""


def undo(revision: ConfigurationRevision) -> Changes:
    """Undo what this revision has changed.

    Raises Conflict, without a change, if that was changed again since, and ConfigurationError if the result is invalid.
    """
    earlier = previous_revision(revision)
    before = parts(parse(earlier.document).structure) if earlier else {}
    after, current = parts(parse(revision.document).structure), parts(present_document())
    changed = [name for name in (before | after) if _value(before, name) != _value(after, name)]
    wanted: dict[str, tuple[Path, Any]] = {}
    conflicts: list[str] = []
    for name in changed:
        path = (before.get(name) or after[name])[0]
        try:
            value = take_back(_value(before, name), _value(after, name), _value(current, name), path)
        except Conflict as conflict:
            conflicts += conflict.pointers
        else:
            wanted[name] = path, value
    if conflicts:
        raise Conflict(conflicts)
    deleted = [name for name, (_, value) in wanted.items() if value is ABSENT]
    secrets = [masking.masked_document().secrets, revision.secrets, earlier.secrets if earlier else None]
    known = {mask: secret for found in secrets for mask, secret in (found or {}).items()}
    return apply_document(literals.unmask(document_of(wanted), known), delete=deleted)


def document_of(wanted: dict[str, tuple[Path, Any]]) -> dict[str, Any]:
    """A document with these parts, without those that are ABSENT."""
    document: dict[str, Any] = {"version": VERSION, "services": {}}
    for path, value in wanted.values():
        section, key = str(path[0]), path[1]
        if value is ABSENT:
            continue
        if section in LISTS:
            document.setdefault(section, []).append(value)
        else:
            document.setdefault(section, {})[str(key)] = value
    return document


def _value(found: dict[str, tuple[Path, Any]], name: str) -> Any:
    return found[name][1] if name in found else ABSENT
