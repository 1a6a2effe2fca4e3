"""What the configuration said, change by change, and the way back to any of it."""

from collections.abc import Iterator
from difflib import unified_diff
from typing import Any, Final, NamedTuple

from routing.configuration.document import dump, parse
from routing.database.actor import acting_as, current_actor
from routing.database.apply import Changes, apply_document
from routing.database.loader import raw_document
from routing.models import ConfigurationRevision

KEPT: Final = 500
"""How many revisions are kept: the oldest go first."""
EMPTY: Final = dump({"version": 1})


def record_revision() -> ConfigurationRevision | None:
    """Write down what the configuration says now, if that is not what it said last."""
    text, before = dump(raw_document()), latest_document()
    if text == before:
        return None
    actor = current_actor()
    summary = actor.note or _summary(before, text)
    revision = ConfigurationRevision.objects.create(actor=actor.name[:200], summary=summary[:200], document=text)
    _forget()
    return revision


def latest_document() -> str:
    return ConfigurationRevision.objects.values_list("document", flat=True).first() or EMPTY


class Rollback(NamedTuple):
    """What was done, and how the record of operations tells it."""

    changes: Changes
    before: dict[str, Any]
    after: dict[str, Any]


def rollback(revision: ConfigurationRevision, actor: str) -> Rollback:
    """Make the services say again what they said then. Raises ConfigurationError, having changed nothing."""
    before = {"revision": _current_revision()}
    with acting_as(actor, f"rolled back to revision {revision.pk}"):
        changes = apply_document(parse(revision.document).structure)
    names = [*changes.created, *changes.updated, *changes.deleted]
    return Rollback(changes, before, {"revision": revision.pk, "services": names})


def _current_revision() -> int | None:
    """The number of the revision that says what the configuration says now; None after a change that nobody told of."""
    last = ConfigurationRevision.objects.first()
    return last.pk if last is not None and last.document == dump(raw_document()) else None


def previous_document(revision: ConfigurationRevision) -> str:
    """What the configuration said before this revision."""
    earlier = ConfigurationRevision.objects.filter(pk__lt=revision.pk)
    return earlier.values_list("document", flat=True).first() or EMPTY


def diff_lines(before: str, after: str) -> Iterator[str]:
    """A unified diff's lines, without its two lines of file names."""
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    for index, line in enumerate(lines):
        if index > 1:
            yield line


def _summary(before: str, after: str) -> str:
    """`added crm; changed billing, mail`."""
    was, now = _services(before), _services(after)
    groups = {
        "added": now.keys() - was.keys(),
        "changed": {name for name in now.keys() & was.keys() if now[name] != was[name]},
        "removed": was.keys() - now.keys(),
    }
    return "; ".join(f"{verb} {', '.join(sorted(names))}" for verb, names in groups.items() if names)


def _services(text: str) -> dict[str, Any]:
    services: dict[str, Any] = parse(text).structure.get("services") or {}
    return services


def _forget() -> None:
    last = ConfigurationRevision.objects.values_list("pk", flat=True)[KEPT : KEPT + 1].first()
    if last is not None:
        ConfigurationRevision.objects.filter(pk__lte=last).delete()
