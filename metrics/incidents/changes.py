"""What was changed around the time at which an incident began: the configuration, deployments and operations."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from django.db.models import Q

from metrics.audit import DEPLOYMENT
from metrics.models import Operation
from routing.database import revisions
from routing.models import ConfigurationRevision

BEFORE_SECONDS: Final = 3_600.0
"""How long before an incident a change may have been its cause."""
MAX_CHANGES: Final = 4
MAX_LINES: Final = 20
"""The most lines of a revision's differences."""
MAX_LINE: Final = 160
MAX_TEXT: Final = 120
"""The most characters of an operation."""
_ACTIONS: Final = (DEPLOYMENT, "cache.flush", "cache.invalidate", "circuit.", "key.")
"""Beginnings of the actions that are listed. Changes of the configuration are listed by revision."""
_NAMES: Final = ("name", "tag", "state", "reason")
"""What is shown of an operation's result."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is Unix seconds. `names_service` if it is about the service. Of a revision of the configuration: `lines` are
    its differences, `undo` is the revision before it, and `later` how many there are after it.
    """

    at: float
    actor: str
    text: str
    names_service: bool
    lines: tuple[str, ...] = ()
    revision: int | None = None
    undo: int | None = None
    later: int = 0


def changes(service: str, since: float, *, is_limited: bool = False) -> list[Change]:
    """The changes since `since` (Unix seconds), the latest first. `is_limited`: of the service alone, for those who may
    view no other.
    """
    start = datetime.fromtimestamp(since - BEFORE_SECONDS, UTC)
    found = [*_revisions(service, start, is_limited), *_operations(service, start, is_limited)]
    return sorted(found, key=lambda change: -change.at)[:MAX_CHANGES]


def latest_revision() -> int | None:
    return ConfigurationRevision.objects.values_list("pk", flat=True).first()


def _revisions(service: str, start: datetime, is_limited: bool) -> Iterator[Change]:
    names = frozenset({service}) if is_limited else None
    rows = list(ConfigurationRevision.objects.defer("secrets").order_by("-pk")[: MAX_CHANGES + 1])
    for index, row in enumerate(rows[:MAX_CHANGES]):
        if row.created_at < start:
            return
        if is_limited and row.service != service:
            continue
        before = rows[index + 1] if index + 1 < len(rows) else None
        texts = before.document if before else revisions.EMPTY, row.document
        lines = revisions.diff_lines(*(revisions.part_of_services(text, names) for text in texts))
        yield Change(
            at=row.created_at.timestamp(),
            actor=row.actor,
            text=row.summary,
            names_service=service in row.summary.replace(",", " ").replace(";", " ").split(),
            lines=_shortened(lines),
            revision=row.pk,
            undo=before.pk if before else None,
            later=index,
        )


def _shortened(lines: Iterator[str]) -> tuple[str, ...]:
    found = [line[:MAX_LINE] for _, line in zip(range(MAX_LINES + 1), lines, strict=False)]
    return tuple(found[:MAX_LINES]) + (("…",) if len(found) > MAX_LINES else ())


def _operations(service: str, start: datetime, is_limited: bool) -> Iterator[Change]:
    wanted = Q()
    for action in _ACTIONS:
        wanted |= Q(action__startswith=action)
    owners = (service,) if is_limited else ("", service)
    for row in Operation.objects.filter(wanted, service__in=owners, at__gte=start)[:MAX_CHANGES]:
        yield Change(
            at=row.at.timestamp(),
            actor=row.actor,
            text=_described(row.action, row.after),
            names_service=bool(row.service),
        )


def _described(action: str, after: Any) -> str:
    """The action, and of its result what names its object or its reason."""
    found = after if isinstance(after, dict) else {}
    if action == DEPLOYMENT:
        return f"deployed {found.get('version', '')}"
    details = [str(found[name]) for name in _NAMES if found.get(name)]
    return ": ".join([action, *details])[:MAX_TEXT]
