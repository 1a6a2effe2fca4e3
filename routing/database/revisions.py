"""The history of the configuration: records each change, shows differences and rolls back."""

from collections.abc import Collection, Iterator
from difflib import unified_diff
from typing import Any, Final, NamedTuple

from django.conf import settings

from routing.configuration import literals
from routing.configuration.alerts import alert_name
from routing.configuration.document import canonical, dump, dump_value, parse
from routing.database import masking
from routing.database.actor import acting_as, current_actor
from routing.database.alerts import alert_label
from routing.database.apply import apply_document, webhook_label
from routing.database.apply_consumers import label
from routing.database.issuers import issuer_label
from routing.database.named_rows import Changes
from routing.models import ConfigurationRevision
from routing.rights import Names

MAX_BYTES: Final = 64 * 1024 * 1024
"""About how much the documents of all revisions may take: those of many services are long."""
FEW_REVISIONS: Final = 20
"""How many revisions are kept, however long they are."""
EMPTY: Final = dump({"version": 1})


def record_revision() -> ConfigurationRevision | None:
    """Record the current configuration as a revision, if it differs from the latest one. Its document is masked."""
    masked = masking.masked_document()
    document = canonical(masked.structure)
    text, before = dump_value(document), latest_document()
    if text == before:
        return None
    actor = current_actor()
    earlier = parse(before).structure
    summary = actor.note or summary_of(earlier, document)
    revision = ConfigurationRevision.objects.create(
        actor=actor.name[:200],
        summary=summary[:200],
        comment=actor.comment[:500],
        service=only_service(changed_parts(earlier, document)),
        document=text,
        secrets=masked.secrets or None,
    )
    _delete_oldest(len(text))
    return revision


def latest_document() -> str:
    return ConfigurationRevision.objects.values_list("document", flat=True).first() or EMPTY


class Rollback(NamedTuple):
    """The changes of a rollback, and its `before` and `after` for the audit log."""

    changes: Changes
    before: dict[str, Any]
    after: dict[str, Any]


def rollback(revision: ConfigurationRevision, actor: str) -> Rollback:
    """Restore the services of a revision. Raises ConfigurationError, without a change, if it is no longer valid."""
    before = {"revision": _current_revision()}
    with acting_as(actor, f"rolled back to revision {revision.pk}", current_actor().comment):
        changes = apply_document(literals.unmask(parse(revision.document).structure, revision.secrets or {}))
    names = [*changes.created, *changes.updated, *changes.deleted]
    return Rollback(changes, before, {"revision": revision.pk, "services": names})


def _current_revision() -> int | None:
    """The id of the latest revision, or None if the configuration has changed since without a signal."""
    latest = ConfigurationRevision.objects.first()
    return latest.pk if latest is not None and latest.document == current_document() else None


def current_document() -> str:
    """The configuration in the database, masked."""
    return dump(masking.masked_document().structure)


def previous_revision(revision: ConfigurationRevision) -> ConfigurationRevision | None:
    return ConfigurationRevision.objects.filter(pk__lt=revision.pk).first()


def previous_document(revision: ConfigurationRevision) -> str:
    """The configuration before this revision."""
    earlier = previous_revision(revision)
    return earlier.document if earlier else EMPTY


def part_of_services(document: str, names: Names) -> str:
    """A stored document with these services and nothing else; as it is for None."""
    if names is None:
        return document
    found: dict[str, Any] = parse(document).structure.get("services") or {}
    return dump({"version": 1, "services": {name: item for name, item in found.items() if name in names}})


def diff_lines(before: str, after: str) -> Iterator[str]:
    """The lines of a unified diff, without the two lines that name the files."""
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2)
    for index, line in enumerate(lines):
        if index > 1:
            yield line


def summary_of(before: dict[str, Any], after: dict[str, Any]) -> str:
    """`added crm; changed billing, mail`."""
    groups = _groups(before, after)
    return "; ".join(f"{verb} {', '.join(sorted(names))}" for verb, names in groups.items() if names)


def changed_parts(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of services that differ, and of webhooks, issuers, alerts and plans as `apply` has them."""
    return [name for names in _groups(before, after).values() for name in names]


def only_service(changed: Collection[str]) -> str:
    """The service, if one has changed and nothing else; otherwise empty. Names of other parts have a space."""
    (name,) = changed if len(changed) == 1 else ("",)
    return name if " " not in name else ""


def _groups(before: dict[str, Any], after: dict[str, Any]) -> dict[str, set[str]]:
    old, new = _parts(before), _parts(after)
    return {
        "added": new.keys() - old.keys(),
        "changed": {name for name in new.keys() & old.keys() if new[name] != old[name]},
        "removed": old.keys() - new.keys(),
    }


def _parts(structure: dict[str, Any]) -> dict[str, Any]:
    """Services by name, and webhooks, issuers, alerts and plans as `apply` names them."""
    webhooks: dict[str, Any] = structure.get("webhooks") or {}
    issuers: list[dict[str, Any]] = structure.get("issuers") or []
    alerts: list[dict[str, Any]] = structure.get("alerts") or []
    plans: dict[str, Any] = structure.get("plans") or {}
    return {
        **(structure.get("services") or {}),
        **{webhook_label(name): item for name, item in webhooks.items()},
        **{issuer_label(str(item["issuer"])): item for item in issuers},
        **{alert_label(alert_name(item)): item for item in alerts},
        **{label("plans", name): item for name, item in plans.items()},
    }


def _delete_oldest(size: int) -> None:
    """`size` is about the length of each document."""
    kept = max(MAX_BYTES // size, FEW_REVISIONS)
    if (most := settings.CONFIG.retention["history"].rows) is not None:
        kept = min(kept, most)
    last = ConfigurationRevision.objects.values_list("pk", flat=True)[kept : kept + 1].first()
    if last is not None:
        ConfigurationRevision.objects.filter(pk__lte=last).delete()
