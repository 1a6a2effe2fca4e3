"""The objectives of services now, from counts in the database. For threads: it blocks.

Counts of minutes, hours and days that are over are remembered, so that only the latest are read again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Final

from metrics.counting.aggregates import read_counts
from metrics.counting.counts import CountBatch
from metrics.counting.spreading import RESOLUTION_SECONDS
from metrics.models import TimeResolution
from metrics.objectives.budgets import WINDOWS, ObjectiveCounts, ObjectiveStatus, count_requests, statuses
from routing.router.objectives import Objectives
from routing.router.table import Service

LATE_SECONDS: Final = 900
"""After this time a period's counts are taken to be complete."""
FEW_SERVICES: Final = 5
"""Up to this number, the counts of each are read by themselves, without those of all other services."""
_RESOLUTIONS: Final = {
    **dict.fromkeys(("5m", "30m", "1h"), TimeResolution.MINUTE),
    **dict.fromkeys(("6h", "3d"), TimeResolution.HOUR),
}

_Counts = dict[TimeResolution, dict[int, ObjectiveCounts]]


class ObjectiveReader:
    """May be used by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._objectives: dict[str, Objectives] = {}
        self._counts: dict[str, _Counts] = {}
        self._complete_until: dict[TimeResolution, int] = {}

    def read(
        self, services: Iterable[Service], pending: Iterable[CountBatch], now: float
    ) -> dict[str, tuple[ObjectiveStatus, ...]]:
        """By the names of those services that have objectives. Hours and days are whole ones, the current included.

        Raises DatabaseError.
        """
        found = {service.name: service for service in services if service.slo is not None}
        if not found:
            return {}
        with self._lock:
            self._forget_unless({name: service.slo for name, service in found.items() if service.slo is not None})
            longest = max(objectives.window for objectives in self._objectives.values())
            batches = list(pending)
            for resolution, length in (("minute", 3_600.0), ("hour", 259_200.0), ("day", longest)):
                self._update(TimeResolution(resolution), length, batches, now)
            return {name: self._statuses(service, now) for name, service in found.items()}

    def _forget_unless(self, objectives: dict[str, Objectives]) -> None:
        if objectives != self._objectives:
            self._objectives, self._complete_until = objectives, {}
            self._counts = {name: defaultdict(dict) for name in objectives}

    def _update(self, resolution: TimeResolution, length: float, pending: list[CountBatch], now: float) -> None:
        unit = RESOLUTION_SECONDS[resolution]
        end = int(now // unit + 1) * unit
        begin = end - int(length)
        start = min(max(begin, self._complete_until.get(resolution, begin)), end - unit)
        found = self._read(resolution, start, end, pending)
        for counts in self._counts.values():
            kept = counts[resolution]
            for at in [at for at in kept if not begin <= at < start]:
                del kept[at]
        for (at, name), fields in found:
            if name in self._objectives:
                self._counts[name][resolution][at] = count_requests(fields, self._objectives[name])
        self._complete_until[resolution] = int((now - LATE_SECONDS) // unit) * unit

    def _read(
        self, resolution: TimeResolution, start: int, end: int, pending: list[CountBatch]
    ) -> Iterable[tuple[tuple[int, str], Mapping[str, int]]]:
        if len(self._objectives) > FEW_SERVICES:
            return read_counts(pending, resolution, start, end).items()
        return [
            item
            for name in self._objectives
            for item in read_counts(pending, resolution, start, end, service=name).items()
        ]

    def _statuses(self, service: Service, now: float) -> tuple[ObjectiveStatus, ...]:
        objectives, counts = self._objectives[service.name], self._counts[service.name]
        windows = {
            name: _sum(counts[resolution], RESOLUTION_SECONDS[resolution], WINDOWS[name], now)
            for name, resolution in _RESOLUTIONS.items()
        }
        day = RESOLUTION_SECONDS[TimeResolution.DAY]
        period = _sum(counts[TimeResolution.DAY], day, int(objectives.window), now)
        return statuses(objectives, windows, period, service.thresholds.minimum_requests)


def _sum(counts: Mapping[int, ObjectiveCounts], unit: int, length: int, now: float) -> ObjectiveCounts:
    """The sum of so many seconds, up to the end of the current period."""
    begin = int(now // unit + 1) * unit - length
    total = ObjectiveCounts()
    for at, found in counts.items():
        if at >= begin:
            total.add(found)
    return total


objective_reader: Final = ObjectiveReader()
"""This process's."""
