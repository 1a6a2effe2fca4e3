"""Applies a configuration document to the database in one transaction, writing only what differs."""

from collections.abc import Collection, Iterable
from typing import Any

from django.db import transaction

from routing.configuration import fallbacks
from routing.configuration.consumers import CONSUMER_SECTIONS
from routing.configuration.consumers import unknown_services as unknown_services_of_plans
from routing.configuration.decode import decode
from routing.configuration.document import canonical
from routing.configuration.faults import ConfigurationError, Fault
from routing.configuration.issuers import EVERY_SERVICE
from routing.configuration.named_services import unknown_services
from routing.configuration.webhooks import check_services
from routing.database.alerts import absent_alerts, apply_alerts
from routing.database.apply_consumers import absent_labels, apply_consumers
from routing.database.apply_services import write_services
from routing.database.deferred import deferred_writes
from routing.database.issuers import absent_issuers, apply_issuers
from routing.database.locks import lock_configuration
from routing.database.masking import unmask
from routing.database.named_rows import Changes, WantedRow, apply_rows
from routing.models import ANY_SECRET, Service, Webhook
from routing.models.own_hosts import reserved_fault
from routing.router.hosts import domain_of


def apply_document(
    structure: Any, *, delete: Collection[str] | None = None, origin: str = "", is_decoded: bool = False
) -> Changes:
    """Make the database match the document.

    Services and webhooks that it does not contain are deleted: all, or those in `delete`, which names webhooks as
    Changes does.

    References such as `env:NAME` are stored as they are. A mask stands for the secret that is stored now. `origin` is
    recorded with the services that are created. `is_decoded`: the document has been decoded without faults other than
    secrets that are missing here.

    Raises ConfigurationError, without a change, if the document has faults or uses a host of a service that is kept, or
    if a service that is kept has one that is deleted as its fallback.
    """
    with transaction.atomic(), deferred_writes():
        lock_configuration()
        structure = unmask(structure)
        if not is_decoded:
            decode(structure, ANY_SECRET, is_part=True)
        document = canonical(structure)
        changes = _apply_services(document, delete, origin)
        changes += _apply_webhooks(document.get("webhooks", {}), delete, origin)
        changes += apply_issuers(document.get("issuers", ()), delete, origin)
        changes += apply_alerts(document.get("alerts", ()), delete, origin)
        present = [section for section in CONSUMER_SECTIONS if structure.get(section) is not None]
        return changes + apply_consumers(document, present, delete, origin)


def _apply_services(document: dict[str, Any], delete: Collection[str] | None, origin: str) -> Changes:
    """Raises ConfigurationError, without a change, for what the other sections refer to as well."""
    wanted = document["services"]
    rows = {row.name: row for row in Service.objects.prefetch_related("targets", "routes")}
    absent = rows.keys() - wanted.keys()
    deleted = tuple(sorted(absent if delete is None else absent.intersection(delete)))
    kept = [rows[name] for name in sorted(absent.difference(deleted))]
    _check_hosts(wanted, kept)
    _check_fallbacks(wanted, kept, deleted)
    _check_references(document, {*wanted, *(row.name for row in kept)})
    # Delete first: a host may move from a deleted service to another.
    for name in deleted:
        rows[name].delete()
    created = tuple(name for name in wanted if name not in rows)
    changed = write_services(rows, wanted, origin)
    return Changes(created, tuple(sorted(changed.difference(created))), deleted)


def absent_names(structure: Any) -> tuple[str, ...]:
    """What the database contains and the document does not: services, and webhooks as `webhook NAME`; plans, teams and
    consumers in the same way.
    """
    services = Service.objects.exclude(name__in=list(structure.get("services") or {})).order_by("name")
    webhooks = Webhook.objects.exclude(name__in=list(structure.get("webhooks") or {})).order_by("name")
    return (
        *services.values_list("name", flat=True),
        *(webhook_label(name) for name in webhooks.values_list("name", flat=True)),
        *absent_labels(structure),
        *absent_issuers(structure.get("issuers") or ()),
        *absent_alerts(structure.get("alerts") or ()),
    )


def webhook_label(webhook: str) -> str:
    """A webhook's name among those of services, which have no spaces."""
    return f"webhook {webhook}"


def _apply_webhooks(items: dict[str, Any], delete: Collection[str] | None, origin: str) -> Changes:
    wanted = {name: WantedRow.of(item) for name, item in items.items()}
    return apply_rows(Webhook, "name", wanted, label=webhook_label, delete=delete, origin=origin)


def _check_references(document: dict[str, Any], services: Collection[str]) -> None:
    faults = check_services(document.get("webhooks", {}), dict.fromkeys(services))
    faults += unknown_services("issuers", document.get("issuers", ()), {*services, EVERY_SERVICE})
    faults += unknown_services("alerts", document.get("alerts", ()), services)
    faults += unknown_services_of_plans(document.get("plans", {}), services)
    if faults:
        raise ConfigurationError(faults)


def _check_hosts(wanted: dict[str, Any], kept: Iterable[Service]) -> None:
    owners = {domain_of(str(host)): row.name for row in kept for host in row.hosts or ()}
    faults = [
        Fault(("services", name, "hosts"), f"{host!r} is already a host of {owners[domain_of(host)]}")
        for name, item in wanted.items()
        for host in item.get("hosts", ())
        if domain_of(host) in owners
    ]
    faults += [
        fault
        for name, item in wanted.items()
        for index, host in enumerate(item.get("hosts", ()))
        if (fault := reserved_fault(("services", name, "hosts", index), host))
    ]
    if faults:
        raise ConfigurationError(faults)


def _check_fallbacks(wanted: dict[str, Any], kept: Iterable[Service], deleted: Collection[str]) -> None:
    """A fallback that was wrong before, of a service that is kept, stays as it is."""
    before = {row.name: row.with_routes() for row in kept}
    earlier = set(fallbacks.check({**before, **dict.fromkeys([*wanted, *deleted])}))
    faults = [fault for fault in fallbacks.check({**before, **wanted}) if fault not in earlier]
    if faults:
        raise ConfigurationError(faults)
