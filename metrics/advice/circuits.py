"""The recorded calls of a service, and what its circuit breaker would have done with other settings."""

from datetime import UTC, datetime
from typing import Final

import msgspec
from django.db.models import Count

from metrics import cluster_counts, selectors
from metrics.advice.breaker import Minute, SimulationResult, simulate
from metrics.counting import aggregates
from metrics.counting.counts import with_prefix
from metrics.models import CircuitChange, TimeResolution
from resilience.breaker.machine import State
from resilience.breaker.policy import BreakerPolicy

HOURS: Final = 48
"""The span that is simulated: for as long as counts by minute are kept."""


MAX_FAILURES: Final = 20_000
"""The most failures that are simulated, the latest ones: about half a second of work."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded since `since` (Unix seconds): how often the circuit opened, and the minutes that have calls."""

    since: float
    opened: int
    minutes: list[Minute]

    @property
    def calls(self) -> int:
        return sum(each.successes + each.failures for each in self.minutes)

    @property
    def failed(self) -> int:
        return sum(each.failures for each in self.minutes)

    @property
    def refused(self) -> int:
        return sum(each.refused for each in self.minutes)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The present settings are simulated too, so that a difference is due to the settings and not to the simulation."""

    recorded: Recorded
    present: SimulationResult
    other: SimulationResult


def compare(service: str, other: BreakerPolicy) -> Comparison:
    """Raises ServiceNotConfigured and DatabaseError."""
    present = selectors.get_service(service).policy.breaker
    recorded = _recorded(service)
    return Comparison(
        recorded=recorded, present=simulate(recorded.minutes, present), other=simulate(recorded.minutes, other)
    )


def opened_circuits(since: float | None = None) -> list[tuple[str, int]]:
    """Configured services, and how often their circuits opened since `since` (Unix seconds), by default in HOURS."""
    begin = selectors.now() - HOURS * 3_600 if since is None else since
    changes = CircuitChange.objects.filter(at__gte=datetime.fromtimestamp(begin, UTC), after=State.OPEN.value)
    rows = changes.values("service")
    counts = rows.annotate(number=Count("pk")).order_by("-number", "service")
    known = selectors.configured_services()
    return [(row["service"], row["number"]) for row in counts if row["service"] in known]


def _recorded(service: str) -> Recorded:
    end = selectors.now()
    start = int(end - HOURS * 3_600) // 60 * 60
    pending = cluster_counts.pending_batches()
    rows = aggregates.read_counts(pending, TimeResolution.MINUTE, start, end + 1, service)
    minutes: list[Minute] = []
    failures, since = 0, start
    for (at, _), fields in sorted(rows.items(), reverse=True):
        calls = with_prefix(fields, "circuit")
        failures += calls.get("failure", 0)
        if failures > MAX_FAILURES and minutes:
            since = minutes[-1].at
            break
        if calls:
            minutes.append(Minute(at, calls.get("success", 0), calls.get("failure", 0), calls.get("refused", 0)))
    return Recorded(since=since, opened=dict(opened_circuits(since)).get(service, 0), minutes=minutes[::-1])
