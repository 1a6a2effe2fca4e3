"""What happened within a range: changes of the configuration, deployments, and moves of circuits."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from metrics.audit import DEPLOYMENT
from metrics.models import CircuitChange, Operation
from resilience.breaker.machine import State
from routing.models import ConfigurationRevision
from routing.rights import Names

MAX_OF_A_KIND: Final = 40
MAX_TEXT: Final = 160
_OPENED: Final = (State.OPEN, State.FORCED_OPEN)


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is Unix seconds, `kind` is `configuration`, `deployment` or `circuit`, `state` what a circuit moved to."""

    at: float
    kind: str
    text: str
    state: str = ""


def read_markers(service: str | None, start: float, end: float, names: Names = None) -> list[Marker]:
    """The latest MAX_OF_A_KIND of each kind, in their order. Of several services together, circuits only as they open.

    `names`: of these services, and of nothing else.
    """
    begin, finish = datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    found = [
        *_revisions(_of(ConfigurationRevision.objects.all(), names), begin, finish),
        *_deployments(_of(Operation.objects.all(), names), service, begin, finish),
        *_circuits(_of(CircuitChange.objects.all(), names), service, begin, finish),
    ]
    return sorted(found, key=lambda marker: marker.at)


def _of(rows: Any, names: Names) -> Any:
    return rows if names is None else rows.filter(service__in=names)


def _revisions(changes: Any, begin: datetime, finish: datetime) -> Iterator[Marker]:
    rows = changes.filter(created_at__gte=begin, created_at__lt=finish).order_by("-pk")
    for at, actor, summary in rows.values_list("created_at", "actor", "summary")[:MAX_OF_A_KIND]:
        yield Marker(at=at.timestamp(), kind="configuration", text=f"{summary} by {actor}"[:MAX_TEXT])


def _deployments(operations: Any, service: str | None, begin: datetime, finish: datetime) -> Iterator[Marker]:
    rows = operations.filter(action=DEPLOYMENT, at__gte=begin, at__lt=finish)
    if service is not None:
        rows = rows.filter(service__in=("", service))
    for row in rows[:MAX_OF_A_KIND]:
        version = row.after.get("version", "") if isinstance(row.after, dict) else ""
        name = f" of {row.service}" if row.service else ""
        yield Marker(at=row.at.timestamp(), kind=DEPLOYMENT, text=f"{version}{name} by {row.actor}"[:MAX_TEXT])


def _circuits(moves: Any, service: str | None, begin: datetime, finish: datetime) -> Iterator[Marker]:
    rows = moves.filter(at__gte=begin, at__lt=finish)
    rows = rows.filter(after__in=_OPENED) if service is None else rows.filter(service=service)
    for row in rows[:MAX_OF_A_KIND]:
        name = f"{row.service}: " if service is None else ""
        text = f"{name}{row.reason}" if row.reason else row.service
        yield Marker(at=row.at.timestamp(), kind="circuit", text=text[:MAX_TEXT], state=row.after)
