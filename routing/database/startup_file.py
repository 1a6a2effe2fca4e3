"""Applies the file that GATEWAY_CONFIG names, at each start.

The file owns the services it creates: it updates them, and deletes them when it no longer contains them. It also
updates services of the same name that were created otherwise, but deletes none of those.
"""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from routing.configuration.document import parse
from routing.database.actor import acting_as
from routing.database.apply import Changes, apply_document
from routing.database.masking import unmasked
from routing.models import ANY_SECRET, Service

log = logging.getLogger(__name__)

ORIGIN: Final = "file"
ACTOR: Final = "GATEWAY_CONFIG"


def apply_startup_file(path: Path) -> Changes:
    """Apply the file and log what it owns. Raises ConfigurationError with all faults, or OSError.

    A secret that is missing here takes its service out of operation, as it does at any later reload.
    """
    document = parse(path.read_bytes())
    unmasked(document).services(ANY_SECRET, is_part=True)  # faults with their lines
    structure = document.structure
    owned = Service.objects.filter(origin=ORIGIN).values_list("name", flat=True)
    with acting_as(ACTOR):
        changes = apply_document(structure, delete=list(owned), origin=ORIGIN)
    names = (structure.get("services") or {}).keys()
    others = Service.objects.exclude(name__in=list(names)).order_by("name").values_list("name", flat=True)
    log.info("%s sets the services %s: edits of these end at the next start", path, _join(names))
    for verb, changed in (("created", changes.created), ("updated", changes.updated), ("removed", changes.deleted)):
        if changed:
            log.info("%s %s %s", path, verb, _join(changed))
    if others:
        log.info("%s did not create these services and leaves them as they are: %s", path, _join(others))
    return changes


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(none)"
