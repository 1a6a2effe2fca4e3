"""Applies the plans, teams and consumers of a configuration document to the database.

Teams and consumers that a document has no section for are left as they are: a program may have made them.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from django.db.models import ProtectedError

from routing.configuration.consumers import CONSUMER_SECTIONS, timestamp, unknown_names
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.identities import identity_columns
from routing.database.named_rows import Changes
from routing.database.rows import write
from routing.models import Consumer, ConsumerIdentity, Plan, Team
from routing.models.consumers import LimitSettings

MODELS: Final[dict[str, type[Plan] | type[Team] | type[Consumer]]] = {
    "plans": Plan,
    "teams": Team,
    "consumers": Consumer,
}
_KEPT: Final = frozenset({"teams", "consumers"})
"""Sections that leave their rows as they are where a document does not have them."""


def label(section: str, name: str) -> str:
    """A name among those of services, which have no spaces: `plan free`."""
    return f"{section.removesuffix('s')} {name}"


def consumer_documents(sections: Collection[str] = CONSUMER_SECTIONS) -> dict[str, Any]:
    """The sections of the document that the database has rows for."""
    found: dict[str, Callable[[], dict[str, Any]]] = {
        "plans": lambda: {row.name: row.to_document() for row in Plan.objects.all()},
        "teams": lambda: {row.name: row.to_document() for row in Team.objects.select_related("plan")},
        "consumers": lambda: {row.name: row.with_identities() for row in _consumers()},
    }
    documents = {section: found[section]() for section in CONSUMER_SECTIONS if section in sections}
    return {section: items for section, items in documents.items() if items}


def absent_labels(structure: Mapping[str, Any]) -> list[str]:
    """What the database contains and the document does not, as `label`."""
    absent = []
    for section in CONSUMER_SECTIONS:
        if structure.get(section) is not None or section not in _KEPT:
            names = MODELS[section].objects.values_list("name", flat=True)
            absent += [label(section, name) for name in names if name not in (structure.get(section) or {})]
    return absent


def owned_labels(origin: str) -> list[str]:
    """What was created by `origin`."""
    return [
        label(section, name)
        for section, model in MODELS.items()
        for name in model.objects.filter(origin=origin).values_list("name", flat=True)
    ]


def apply_consumers(
    document: Mapping[str, Any], present: Collection[str], delete: Collection[str] | None, origin: str
) -> Changes:
    """Write what differs.

    `document` is in canonical form; `present` are the sections of the original. Raises ConfigurationError if a plan or
    a team does not exist, or is deleted while another uses it.
    """
    labels = absent_labels({section: document.get(section, {}) for section in present})
    doomed = [
        (section, name)
        for section in reversed(CONSUMER_SECTIONS)
        for name in MODELS[section].objects.values_list("name", flat=True)
        if name not in document.get(section, {})
        and (label(section, name) in labels if delete is None else label(section, name) in delete)
    ]
    _check_names(document)
    created: list[str] = []
    updated: list[str] = []
    for section in CONSUMER_SECTIONS:
        _apply_section(section, document.get(section, {}), origin, created, updated)
    for section, name in doomed:
        _delete(section, name)
    return Changes(tuple(created), tuple(updated), tuple(label(*item) for item in doomed))


def _check_names(document: Mapping[str, Any]) -> None:
    known = {
        section: {*document.get(section, {}), *MODELS[section].objects.values_list("name", flat=True)}
        for section in ("plans", "teams")
    }
    faults = unknown_names({section: document.get(section, {}) for section in CONSUMER_SECTIONS}, known)
    if faults:
        raise ConfigurationError(faults)


def _apply_section(section: str, items: Mapping[str, Any], origin: str, created: list[str], updated: list[str]) -> None:
    model = MODELS[section]
    query = model.objects.prefetch_related("identities") if model is Consumer else model.objects.all()
    rows: dict[str, Any] = {row.name: row for row in query} if items else {}
    plans = {row.name: row.pk for row in Plan.objects.all()} if items and section != "plans" else {}
    teams = {row.name: row.pk for row in Team.objects.all()} if items and section == "consumers" else {}
    for name, item in items.items():
        row = rows.get(name) or model(name=name, origin=origin)
        changed = write(row, _columns(section, item, plans, teams))
        if isinstance(row, Consumer):
            changed = _write_identities(row, item.get("identities", [])) or changed
        if name not in rows:
            created.append(label(section, name))
        elif changed:
            updated.append(label(section, name))


def _columns(
    section: str, item: Mapping[str, Any], plans: Mapping[str, int], teams: Mapping[str, int]
) -> dict[str, Any]:
    columns = {"rate": item.get("rate", "")} | {name: item.get(name) for name in ("burst", "quota", "concurrency")}
    if section == "plans":
        plan = {name: item.get(name) for name in ("services", "ip", "price")}
        return columns | plan | {"offered": item.get("offered", False)}
    signed_up = item.get("signed_up")
    columns |= {
        "plan_id": plans[item["plan"]] if "plan" in item else None,
        "signed_up": timestamp(signed_up) if signed_up else None,
    }
    if section == "consumers":
        columns |= {"enabled": item.get("enabled", True), "team_id": teams[item["team"]] if "team" in item else None}
    return columns


def _write_identities(consumer: Consumer, wanted: list[dict[str, str]]) -> bool:
    rows = {_identity(row.to_document()): row for row in consumer.identities.all()}
    identities = {_identity(item): identity_columns(item) for item in wanted}
    for key in rows.keys() - identities.keys():
        rows[key].delete()
    changed = bool(rows.keys() - identities.keys())
    for key, columns in identities.items():
        if key not in rows:
            _check_owner(consumer, key)
        changed = write(rows.get(key) or ConsumerIdentity(consumer=consumer), columns) or changed
    return changed


def _check_owner(consumer: Consumer, identity: tuple[str, str, str]) -> None:
    issuer, subject, tenant = identity
    other = ConsumerIdentity.objects.filter(issuer=issuer, subject=subject, tenant=tenant).first()
    if other is not None:
        message = f"{other} is already an identity of {other.consumer}"
        raise ConfigurationError([Fault(("consumers", consumer.name, "identities"), message)])


def _identity(item: Mapping[str, Any]) -> tuple[str, str, str]:
    columns = identity_columns(item)
    return columns["issuer"], columns["subject"], columns["tenant"]


def _delete(section: str, name: str) -> None:
    row: LimitSettings = MODELS[section].objects.get(name=name)
    try:
        row.delete()
    except ProtectedError as error:
        user = next(iter(error.protected_objects))
        kind = type(user).__name__.lower()
        message = f"cannot be deleted: {kind} {user} uses it"
        raise ConfigurationError([Fault((section, name), message)]) from None


def _consumers() -> Any:
    return Consumer.objects.select_related("plan", "team").prefetch_related("identities")
