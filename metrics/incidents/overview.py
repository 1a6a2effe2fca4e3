"""The incidents of all services and quotas now. For Django's threads: it blocks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from metrics import selectors
from metrics.counting.counts import Fields
from metrics.incidents import circuits, traffic
from metrics.incidents.incident import AFTER_SECONDS, Incident, Signal, SignalKind, incident_of, urgency
from metrics.incidents.traffic import Tally
from metrics.models import CircuitChange
from metrics.runtime_access import running
from metrics.selectors import Recent
from metrics.targets.status import without_calls
from resilience.breaker.machine import Snapshot
from resilience.durations import MINUTE
from routing.authentication.quota_owner import owner_of
from routing.models import QuotaUsage
from routing.router.table import Service

TRANSITIONS_SECONDS: Final = 7 * 86_400
"""How far back the beginning of an incident is looked for."""
MAX_TRANSITIONS: Final = 2_000
MAX_QUOTAS: Final = 10
NEAR_END: Final = 80
"""Percent of a quota: as for the events of quotas."""

ByMinute = Mapping[int, Fields]


def incidents(recent: Recent | None = None) -> list[Incident]:
    """The most urgent first."""
    recent = recent or selectors.read_recent()
    services, reading = selectors.configured_services(), _read(recent)
    found = [incident_of(name, _signals(service, reading), recent.at) for name, service in services.items()]
    found.append(incident_of("", _quota_signals(recent.at), recent.at))
    return sorted((incident for incident in found if incident is not None), key=urgency)


class _Reading(NamedTuple):
    """What is known of all services at `at`, by their names. `unhealthy` are reasons by target."""

    at: float
    snapshots: Mapping[str, Snapshot]
    minutes: Mapping[str, ByMinute]
    transitions: Mapping[str, list[circuits.Transition]]
    unhealthy: Mapping[str, Mapping[str, str]]
    tallies: Mapping[str, Mapping[int, Tally]]


def _read(recent: Recent) -> _Reading:
    minutes, snapshots = _by_service(recent), selectors.circuit_snapshots()
    transitions = _transitions(_restless(snapshots, minutes, recent.at), recent.at)
    services = selectors.configured_services().values()
    unhealthy = {each.name: without_calls(recent.targets.of(each)) for each in services if each.policy.enabled}
    return _Reading(recent.at, snapshots, minutes, transitions, unhealthy, _tallies.read(minutes))


class _Tallies:
    """The tallies of all minutes. Those read last are kept, since few of them have changed a second later."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[tuple[int, int], Tally]] = {}

    def read(self, minutes: Mapping[str, ByMinute]) -> dict[str, dict[int, Tally]]:
        known, self._known = self._known, {}
        found: dict[str, dict[int, Tally]] = {}
        for name, fields_by_start in minutes.items():
            own = found[name] = {}
            for start, fields in fields_by_start.items():
                counted = len(fields), fields.get("duration_us", 0)  # which every request changes
                earlier = known.get((name, start))
                same = earlier is not None and earlier[0] == counted
                tally = earlier[1] if earlier is not None and same else traffic.tally(fields)
                self._known[name, start] = counted, tally
                own[start] = tally
        return found


_tallies: Final = _Tallies()


def _by_service(recent: Recent) -> dict[str, ByMinute]:
    found: defaultdict[str, dict[int, Fields]] = defaultdict(dict)
    for (start, name), fields in recent.minutes.items():
        found[name][start] = fields
    return dict(found)


def _restless(snapshots: Mapping[str, Snapshot], minutes: Mapping[str, ByMinute], now: float) -> list[str]:
    """Services whose circuit refuses calls, or did so within AFTER_SECONDS."""
    since = now - AFTER_SECONDS - MINUTE
    return [
        name
        for name, snapshot in snapshots.items()
        if snapshot.state not in circuits.WELL
        or any(start >= since and circuits.moved(fields) for start, fields in minutes.get(name, {}).items())
    ]


def _transitions(names: list[str], now: float) -> dict[str, list[circuits.Transition]]:
    """The oldest first. No query if no circuit has anything to show."""
    if not names:
        return {}
    since = datetime.fromtimestamp(now - TRANSITIONS_SECONDS, UTC)
    found: defaultdict[str, list[circuits.Transition]] = defaultdict(list)
    rows = CircuitChange.objects.filter(service__in=names, at__gte=since)[:MAX_TRANSITIONS]
    for row in reversed(rows):
        found[row.service].append(circuits.Transition(row.at.timestamp(), row.after, row.reason))
    return found


def _signals(service: Service, reading: _Reading) -> Iterator[Signal]:
    name, own, now = service.name, reading.minutes.get(service.name, {}), reading.at
    snapshot = reading.snapshots.get(name, Snapshot())
    if service.is_out:
        yield Signal(
            kind=SignalKind.OUT_OF_SERVICE, text="the configuration cannot be loaded: every request receives 503"
        )
    found = (
        circuits.circuit_signal(snapshot.state, snapshot.reason, reading.transitions.get(name, ()), own, now),
        circuits.target_signal(reading.unhealthy.get(name, {}), len(service.targets), own),
    )
    yield from (signal for signal in found if signal is not None)
    yield from traffic.signals(reading.tallies.get(name, {}), service.thresholds, now)


def _quota_signals(now: float) -> Iterator[Signal]:
    rows = QuotaUsage.objects.filter(warned__gte=NEAR_END, ends__gt=now).order_by("-warned", "ends")[:MAX_QUOTAS]
    keys = running().gateway.live.keys
    for row in rows:
        owner = owner_of(row.counter, keys)
        used = "is used up" if row.warned >= 100 else f"is used by {NEAR_END}% and more"
        ends = f"{datetime.fromtimestamp(row.ends, UTC):%-d %b %Y, %H:%M:%S} UTC"
        yield Signal(
            kind=SignalKind.QUOTA, text=f"the quota {owner.quota} of {owner.owner} {owner.name} {used}, until {ends}"
        )
