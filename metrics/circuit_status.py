"""What is shown of a circuit: state and counts, its service's hold-offs, and what is left of a backend's quotas."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from metrics.counting.counts import Fields, with_prefix
from metrics.read_models import CircuitStatus, HoldOffStatus
from metrics.runtime_access import running
from resilience.breaker.machine import Snapshot

MAX_HOLD_OFFS: Final = 20
"""The most hold-offs of a service that are listed."""


def hold_offs() -> dict[str, list[HoldOffStatus]]:
    """The hold-offs of each service, the last to end first."""
    found: defaultdict[str, list[HoldOffStatus]] = defaultdict(list)
    for partition, hold_off in running().hold_offs.all().items():
        found[partition.service].append(HoldOffStatus(str(partition), hold_off.until))
    for held in found.values():
        held.sort(key=lambda status: -status.until)
    return found


def circuit_status(
    name: str, snapshot: Snapshot, fields: Fields, held: Sequence[HoldOffStatus], quotas: dict[str, int]
) -> CircuitStatus:
    calls = with_prefix(fields, "circuit")
    return CircuitStatus(
        service=name,
        state=snapshot.state.value,
        failures=calls.get("failure", 0),
        successes=calls.get("success", 0),
        total_requests=sum(calls.values()),
        until=snapshot.until,
        reason=snapshot.reason,
        hold_offs=tuple(held[:MAX_HOLD_OFFS]),
        quotas=quotas,
    )
