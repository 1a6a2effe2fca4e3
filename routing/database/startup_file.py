"""Applies the file that GATEWAY_CONFIG names, at each start.

The file owns the services it creates: it updates them, and deletes them when it no longer contains them. It also
updates services of the same name that were created otherwise, but deletes none of those.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from django.db import transaction

from routing.configuration.decode import VERSION
from routing.configuration.document import canonical, parse_file
from routing.database.actor import acting_as
from routing.database.alerts import alert_label
from routing.database.apply import apply_document, webhook_label
from routing.database.apply_consumers import owned_labels
from routing.database.issuers import ORIGIN as ENVIRONMENT
from routing.database.issuers import apply_issuers, issuer_label
from routing.database.locks import lock_configuration
from routing.database.masking import unmasked
from routing.database.named_rows import Changes
from routing.models import ANY_SECRET, AlertRule, Issuer, Service, Webhook

log = logging.getLogger(__name__)

ORIGIN: Final = "file"
ACTOR: Final = "GATEWAY_CONFIG"


def apply_startup_file(path: Path) -> Changes:
    """Apply the file and log what it owns. Raises ConfigurationError with all faults, or OSError.

    A secret that is missing here takes its service out of operation, as it does at any later reload.
    """
    document = parse_file(path.read_bytes())
    unmasked(document).services(ANY_SECRET, is_part=True)  # faults with their lines
    structure = document.structure
    with acting_as(ACTOR):
        changes = apply_document(structure, delete=_owned(), origin=ORIGIN, is_decoded=True)
    names = (structure.get("services") or {}).keys()
    others = Service.objects.exclude(name__in=list(names)).order_by("name").values_list("name", flat=True)
    log.info("%s sets the services %s: edits of these end at the next start", path, _join(names))
    for verb, changed in (("created", changes.created), ("updated", changes.updated), ("removed", changes.deleted)):
        if changed:
            log.info("%s %s %s", path, verb, _join(changed))
    if others:
        log.info("%s did not create these services and leaves them as they are: %s", path, _join(others))
    return changes


def apply_environment_issuers(items: list[dict[str, Any]]) -> None:
    """Make the issuers of the variable ISSUERS, which have been decoded, those of the database that it has created.

    It also updates issuers that were created otherwise, but deletes none of those.
    """
    owned = [issuer_label(row.issuer) for row in Issuer.objects.filter(origin=ENVIRONMENT)]
    if not items and not owned:
        return
    document = canonical({"version": VERSION, "issuers": items})
    with acting_as("ISSUERS"), transaction.atomic():
        lock_configuration()
        changes = apply_issuers(document.get("issuers", ()), owned, ENVIRONMENT)
    for verb, names in (("created", changes.created), ("updated", changes.updated), ("removed", changes.deleted)):
        if names:
            log.info("ISSUERS %s %s", verb, _join(names))


def _owned() -> list[str]:
    """What the file has created, as `apply_document` names it."""
    services, webhooks = Service.objects.filter(origin=ORIGIN), Webhook.objects.filter(origin=ORIGIN)
    issuers = Issuer.objects.filter(origin=ORIGIN)
    return [
        *services.values_list("name", flat=True),
        *(webhook_label(row.name) for row in webhooks),
        *(issuer_label(row.issuer) for row in issuers),
        *(alert_label(row.name) for row in AlertRule.objects.filter(origin=ORIGIN)),
        *owned_labels(ORIGIN),
    ]


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"
