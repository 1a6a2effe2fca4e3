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
from metrics.objectives.windows import hours_by_minute, sum_days, sum_window
from resilience.durations import HOUR, MINUTE
from routing.router.objectives import Objectives
from routing.router.table import Service

LATE_SECONDS: Final = 900
"""After this time a period's counts are taken to be complete."""
FEW_SERVICES: Final = 5
"""Up to this number, the counts of each are read by themselves, without those of all other services."""
_HOURS: Final = max(WINDOWS.values()) + HOUR
"""How far hours are read back, in seconds: the one is included in which the longest window begins."""

_Counts = dict[TimeResolution, dict[int, ObjectiveCounts]]


class ObjectiveReader:
    """May be used by several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._objectives: dict[str, Objectives] = {}
        self._counts: dict[str, _Counts] = {}
        self._complete_until: dict[tuple[TimeResolution, int], int] = {}
        """Keyed by resolution and the first start of a range."""

    def read(
        self, services: Iterable[Service], pending: Iterable[CountBatch], now: float
    ) -> dict[str, tuple[ObjectiveStatus, ...]]:
        """The status of the objectives, by the names of the services that have any. The current minute and day are
        included.

        Raises DatabaseError.
        """
        found = {service.name: service for service in services if service.slo is not None}
        if not found:
            return {}
        with self._lock:
            self._forget_unless({name: service.slo for name, service in found.items() if service.slo is not None})
            batches = list(pending)
            self._update_minutes(batches, now)
            longest = max(objectives.window for objectives in self._objectives.values())
            for resolution, length in ((TimeResolution.HOUR, _HOURS), (TimeResolution.DAY, int(longest))):
                unit = RESOLUTION_SECONDS[resolution]
                end = int(now // unit + 1) * unit
                self._keep(resolution, set(range(end - length, end, unit)))
                self._update(resolution, 0, range(end - length, end, unit), batches, now)
            return {name: self._statuses(service, now) for name, service in found.items()}

    def _forget_unless(self, objectives: dict[str, Objectives]) -> None:
        if objectives != self._objectives:
            self._objectives, self._complete_until = objectives, {}
            self._counts = {name: defaultdict(dict) for name in objectives}

    def _update_minutes(self, pending: list[CountBatch], now: float) -> None:
        """Minutes of the hours that are needed by minute. What is over of them is read once."""
        hours = hours_by_minute(now)
        self._keep(TimeResolution.MINUTE, {minute for hour in hours for minute in range(hour, hour + HOUR, MINUTE)})
        self._complete_until = {
            (resolution, begin): until
            for (resolution, begin), until in self._complete_until.items()
            if resolution != TimeResolution.MINUTE or begin in hours
        }
        end = int(now // MINUTE + 1) * MINUTE
        for hour in hours:
            self._update(TimeResolution.MINUTE, hour, range(hour, min(hour + HOUR, end), MINUTE), pending, now)

    def _keep(self, resolution: TimeResolution, starts: set[int]) -> None:
        for counts in self._counts.values():
            for at in counts[resolution].keys() - starts:
                del counts[resolution][at]

    def _update(
        self, resolution: TimeResolution, key: int, starts: range, pending: list[CountBatch], now: float
    ) -> None:
        """Read on where counts were not complete yet. `key` identifies a range among those of its resolution."""
        known = self._complete_until.get((resolution, key), starts.start)
        start = starts.start if known > now else max(starts.start, known)  # the clock was wrong
        self._complete_until[resolution, key] = min(starts.stop, int((now - LATE_SECONDS) // starts.step) * starts.step)
        if start >= starts.stop:
            return
        found = self._read(resolution, start, starts.stop, pending)
        for counts in self._counts.values():
            for at in [at for at in counts[resolution] if start <= at < starts.stop]:
                del counts[resolution][at]
        for (at, name), fields in found:
            if name in self._objectives:
                self._counts[name][resolution][at] = count_requests(fields, self._objectives[name])

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
        minutes, hours = counts[TimeResolution.MINUTE], counts[TimeResolution.HOUR]
        windows = {name: sum_window(minutes, hours, length, now) for name, length in WINDOWS.items()}
        period = sum_days(counts[TimeResolution.DAY], int(objectives.window), now)
        return statuses(objectives, windows, period, service.thresholds.minimum_requests)


objective_reader: Final = ObjectiveReader()
"""The reader of this process."""
