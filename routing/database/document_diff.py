"""The differences of two configuration documents: what is created, changed and deleted."""

from typing import Any

import msgspec

from routing.configuration.alerts import alert_name
from routing.configuration.consumers import CONSUMER_SECTIONS
from routing.configuration.differences import Difference, differences
from routing.configuration.document import inline
from routing.configuration.faults import Path
from routing.database.alerts import alert_label
from routing.database.apply import webhook_label
from routing.database.apply_consumers import label
from routing.database.issuers import issuer_label


class DocumentDiff(msgspec.Struct, frozen=True):
    """By the names that commands have for the parts of a document: `crm`, `webhook slack`, `plan free`.

    Both documents are masked, and so the values contain no secrets.
    """

    created: dict[str, Any]
    changed: dict[str, tuple[Difference, ...]]
    deleted: dict[str, Any]

    def __bool__(self) -> bool:
        return bool(self.created or self.changed or self.deleted)

    def to_document(self, *, with_values: bool = True) -> dict[str, Any]:
        """As JSON: parts by name, and the changes of each with old and new values, or names only."""
        if not with_values:
            return {
                "created": dict.fromkeys(self.created),
                "changed": {name: [] for name in self.changed},
                "deleted": dict.fromkeys(self.deleted),
            }
        changed = {name: [msgspec.to_builtins(change) for change in changes] for name, changes in self.changed.items()}
        return {"created": self.created, "changed": changed, "deleted": self.deleted}


def diff_of(found: dict[str, Any]) -> DocumentDiff:
    """The differences that `to_document` has written, with values."""
    changed = {name: tuple(msgspec.convert(changes, list[Difference])) for name, changes in found["changed"].items()}
    return DocumentDiff(found["created"], changed, found["deleted"])


def document_diff(before: dict[str, Any], after: dict[str, Any]) -> DocumentDiff:
    """`before` and `after` are in canonical form."""
    old, new = parts(before), parts(after)
    changed = {
        name: tuple(differences(old[name][1], new[name][1], new[name][0]))
        for name in new
        if name in old and old[name][1] != new[name][1]
    }
    return DocumentDiff(
        {name: value for name, (_, value) in new.items() if name not in old},
        {name: found for name, found in changed.items() if found},
        {name: value for name, (_, value) in old.items() if name not in new},
    )


def parts(document: dict[str, Any]) -> dict[str, tuple[Path, Any]]:
    """The parts of a document with their paths, by name."""
    found: dict[str, tuple[Path, Any]] = {}
    for name, item in (document.get("services") or {}).items():
        found[name] = ("services", name), item
    for name, item in (document.get("webhooks") or {}).items():
        found[webhook_label(name)] = ("webhooks", name), item
    for index, item in enumerate(document.get("issuers") or ()):
        found[issuer_label(str(item["issuer"]))] = ("issuers", index), item
    for index, item in enumerate(document.get("alerts") or ()):
        found[alert_label(alert_name(item))] = ("alerts", index), item
    for section in CONSUMER_SECTIONS:
        for name, item in (document.get(section) or {}).items():
            found[label(section, name)] = (section, name), item
    return found


def text_lines(diff: dict[str, Any]) -> list[str]:
    """A diff, as `to_document` returns it, for people."""
    lines = [f"+ {name}" for name in diff["created"]]
    for name, changes in diff["changed"].items():
        lines.append(f"~ {name}")
        lines += [f"    {change['pointer']}: {_value(change['old'])} -> {_value(change['new'])}" for change in changes]
    return [*lines, *(f"- {name}" for name in diff["deleted"])]


def _value(value: Any) -> str:
    return "(none)" if value is None else inline(value)
