"""Reads the state of the services that are listed. For Django's threads: it blocks."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec
from django.db import DatabaseError, InterfaceError

from metrics import cluster_counts, selectors
from metrics.counting import aggregates
from metrics.incidents.circuits import Transition
from metrics.incidents.incident import Incident
from metrics.incidents.overview import incidents
from metrics.models import CircuitChange, TimeResolution
from metrics.stats import status_classes
from metrics.status_page.states import (
    Day,
    Interruption,
    ServiceState,
    interruptions,
    state_of,
    success_share,
    with_every_day,
    worst,
)
from resilience.breaker.machine import Snapshot
from resilience.durations import DAY
from resilience.outage import StoreUnavailable
from routing.router.table import Service

log = logging.getLogger(__name__)

DAYS: Final = 90
INTERRUPTION_DAYS: Final = 30
MAX_INTERRUPTIONS: Final = 20
MAX_TRANSITIONS: Final = 2_000
PAST_SECONDS: Final = 3_600.0
"""How long the counts of past days are kept: late ones still change them."""


class ServiceReport(msgspec.Struct, frozen=True, kw_only=True):
    """`share` is the percentage of requests of all `days` that succeeded. Nothing here names the service itself."""

    label: str
    state: ServiceState
    share: float | None
    days: tuple[Day, ...] = ()

    @property
    def troubled(self) -> list[Day]:
        """Days on which so many requests failed that they are not shown as good, the latest first."""
        return [day for day in reversed(self.days) if day.level in ("fair", "bad")]


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """At `at` (Unix seconds). `has_history` is false while the database is unavailable."""

    at: float
    state: ServiceState
    services: tuple[ServiceReport, ...]
    interruptions: tuple[Interruption, ...] = ()
    has_history: bool = True


class _History(NamedTuple):
    """Incidents and days by the services' names."""

    current: Mapping[str, Incident] = {}
    days: Mapping[str, tuple[Day, ...]] = {}
    interruptions: tuple[Interruption, ...] = ()


class Reporter:
    """Makes reports, one at a time. It keeps the counts of past days."""

    def __init__(self) -> None:
        self._past: dict[str, list[Day]] = {}
        self._past_until = 0.0
        self._day = 0

    def read(self) -> StatusReport:
        listed = {name: each for name, each in selectors.configured_services().items() if each.public_label}
        at, circuits = selectors.now(), selectors.circuit_snapshots()
        try:
            current = {incident.service: incident for incident in incidents()} if listed else {}
            days = {name: self._days(name, int(at // DAY) * DAY, at) for name in listed}
            found = _interruptions(listed, at)
        except (DatabaseError, InterfaceError, StoreUnavailable):
            log.warning("the status page has no history: the database or Redis is unavailable", exc_info=True)
            return _report(at, listed, circuits, _History())
        return _report(at, listed, circuits, _History(current, days, found))

    def _days(self, name: str, today: int, at: float) -> tuple[Day, ...]:
        if at >= self._past_until or today != self._day:
            self._past, self._past_until, self._day = {}, at + PAST_SECONDS, today
        if name not in self._past:
            self._past[name] = _read_days(name, today - (DAYS - 1) * DAY, today)
        return with_every_day([*self._past[name], *_read_days(name, today, today + DAY)], today, DAYS)


def _report(
    at: float,
    listed: Mapping[str, Service],
    circuits: Mapping[str, Snapshot],
    history: _History,
) -> StatusReport:
    current, days, found = history
    services = sorted(
        (
            ServiceReport(
                label=service.public_label,
                state=state_of(service, circuits.get(name, Snapshot()).state, current.get(name)),
                share=_share(days.get(name, ())),
                days=days.get(name, ()),
            )
            for name, service in listed.items()
        ),
        key=lambda each: each.label.casefold(),
    )
    state = worst(each.state for each in services)
    return StatusReport(
        at=at, state=state, services=tuple(services), interruptions=found, has_history=bool(days) or not listed
    )


def _share(days: tuple[Day, ...]) -> float | None:
    return success_share(sum(day.requests for day in days), sum(day.errors for day in days))


def _read_days(name: str, start: int, end: int) -> list[Day]:
    """Days of one service that have counts, those of workers that are not in the database yet included."""
    rows = aggregates.read_counts(cluster_counts.pending_batches(), TimeResolution.DAY, start, end, name)
    classes = {at: status_classes(fields) for (at, _), fields in rows.items()}
    return [Day(at, sum(found.values()), found.get("5xx", 0)) for at, found in sorted(classes.items())]


def _interruptions(listed: Mapping[str, Service], at: float) -> tuple[Interruption, ...]:
    since = datetime.fromtimestamp(at - INTERRUPTION_DAYS * DAY, UTC)
    rows = CircuitChange.objects.filter(service__in=list(listed), at__gte=since)[:MAX_TRANSITIONS]
    moves: defaultdict[str, list[Transition]] = defaultdict(list)
    for row in reversed(rows):
        moves[row.service].append(Transition(row.at.timestamp(), row.after, row.reason))
    found = [each for name, own in moves.items() for each in interruptions(listed[name].public_label, own)]
    return tuple(sorted(found, key=lambda each: -each.began)[:MAX_INTERRUPTIONS])
