"""What the dashboard's pages receive each second: a small row for each service; if there are many, they take turns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec
from django.contrib.staticfiles.storage import staticfiles_storage

from metrics.incidents.incident import Incident, Phase
from metrics.read_models import ServiceStatus, Summary, TrafficStats
from routing.balancing.rules import TargetCondition

MAX_BYTES: Final = 16_000
"""The most bytes that the rows of one message take."""
MAX_INCIDENTS: Final = 5
"""Incidents in one message; the rest are a number."""
LAST_MINUTES: Final = 2
"""Values of a sparkline that may have changed since a row was sent last."""
_DIGITS: Final = 4
_CIRCUIT: Final = ("state", "failures", "successes", "until", "reason", "hold_offs", "quotas")
_TARGET: Final = {"weight": 1, "canary": 0.0, "always_up": False}
"""Defaults, which are not sent."""
_RECENT: Final = ("requests", "errors", "hits", "misses", "p50", "p95", "p99")
_TOTAL: Final = ("requests", "hits", "misses", "saved_calls", "saved_seconds", "saved_usd")


class ServiceStatuses(NamedTuple):
    """The names of all services, in order, and a function that reads the status of one."""

    names: Sequence[str]
    status_of: Callable[[str], ServiceStatus]


class FeedMessage(NamedTuple):
    """`last` is the name of the service whose row is the last one, if not all rows had room."""

    text: bytes
    last: str


def complete(summary: Summary, services: Iterable[ServiceStatus], incidents: Sequence[Incident], version: int) -> bytes:
    """Everything, for a page that has just connected."""
    tones = _tones(incidents)
    rows = [encode_row(service, tones.get(service.name)) for service in services]
    return _message(summary, rows, incidents, version, is_complete=True)


def update(
    summary: Summary,
    services: ServiceStatuses,
    incidents: Sequence[Incident],
    version: int,
    after: str,
) -> FeedMessage:
    """As many rows as there is room for: of services with incidents, then of those that follow the service `after`.

    Unless all have room, rows are without what only a change of the configuration changes.
    """
    tones, services = _tones(incidents), ServiceStatuses(services.names, cache(services.status_of))
    whole = _rows(services.names, services, tones, is_whole=True)
    if len(whole) == len(services.names):
        return FeedMessage(_message(summary, whole, incidents, version, is_complete=True), "")
    urgent = {incident.service for incident in incidents[:MAX_INCIDENTS]}
    first = [name for name in services.names if name in urgent]
    others = [name for name in services.names if name not in urgent]
    start = next((index for index, name in enumerate(others) if name > after), 0)
    turn = [*others[start:], *others[:start]]
    rows = _rows([*first, *turn], services, tones, is_whole=False)
    last = turn[len(rows) - len(first) - 1] if len(rows) > len(first) else after
    return FeedMessage(_message(summary, rows, incidents, version, is_complete=False), last)


def _rows(names: Sequence[str], services: ServiceStatuses, tones: Mapping[str, str], *, is_whole: bool) -> list[bytes]:
    """The rows that have room, and at least one."""
    rows: list[bytes] = []
    size = 0
    for name in names:
        row = encode_row(services.status_of(name), tones.get(name), is_whole=is_whole)
        size += len(row)
        if rows and size > MAX_BYTES:
            break
        rows.append(row)
    return rows


def encode_row(service: ServiceStatus, tone: str | None = None, *, is_whole: bool = True) -> bytes:
    """What the overview and a service's page show: without zeros and empty values.

    `unwell` are the targets that do not receive their share of calls, by their index. `tone` is that of an incident.
    """
    circuit = {name: getattr(service.circuit, name) for name in _CIRCUIT}
    unwell = {
        str(index): [target.condition, target.workers]
        for index, target in enumerate(service.targets)
        if target.condition != TargetCondition.UP
    }
    row = {
        "name": service.name,
        "circuit": {name: value for name, value in circuit.items() if value},
        "recent": {**_figures(service.recent, _RECENT), **_client_errors(service.recent)},
        "total": _figures(service.total, _TOTAL),
        "sparkline": service.sparkline if is_whole else service.sparkline[-LAST_MINUTES:],
        **({"unwell": unwell} if unwell else {}),
        **({"tone": tone} if tone else {}),
        **({"faults": service.faults, "is_out": service.is_out} if service.faults else {}),
        **(_configured(service) if is_whole else {}),
    }
    return msgspec.json.encode(row)


def _configured(service: ServiceStatus) -> dict[str, Any]:
    targets = [
        {"url": target.url, "weight": target.weight, "canary": target.canary, "always_up": target.always_up}
        for target in service.targets
    ]
    kept = [{name: value for name, value in target.items() if value != _TARGET.get(name)} for target in targets]
    return {"enabled": service.enabled, "targets": kept, **({"labels": service.labels} if service.labels else {})}


def _tones(incidents: Iterable[Incident]) -> dict[str, str]:
    """How bad the incident of a service is, if it has one that is not over."""
    return {
        incident.service: "bad" if incident.is_bad and incident.phase is Phase.ACTIVE else "warn"
        for incident in incidents
        if incident.phase is not Phase.RECOVERED
    }


def brief(incident: Incident) -> dict[str, Any]:
    """What a page shows of an incident before it has read more."""
    return {
        "service": incident.service,
        "phase": incident.phase,
        "is_bad": incident.is_bad,
        "since": incident.since,
        "ended": incident.ended,
        "signals": [{"kind": signal.kind, "text": signal.text, "ended": signal.ended} for signal in incident.signals],
    }


def _message(
    summary: Summary, rows: Sequence[bytes], incidents: Sequence[Incident], version: int, *, is_complete: bool
) -> bytes:
    message = {
        "summary": _short(summary),
        "services": [msgspec.Raw(row) for row in rows],
        "is_complete": is_complete,
        "version": version,
        "build": build(),
        "incidents": [brief(incident) for incident in incidents[:MAX_INCIDENTS]],
        "more_incidents": max(0, len(incidents) - MAX_INCIDENTS),
    }
    return msgspec.json.encode(message)


def build() -> str:
    """A hash of the names of all static files, which have one of their content; empty if they are not collected."""
    return str(getattr(staticfiles_storage, "manifest_hash", ""))


def _short(summary: Summary) -> dict[str, Any]:
    return {
        "at": summary.at,
        "connected": summary.connected,
        "per_second": summary.per_second,
        "open_circuits": summary.open_circuits,
        "total": _figures(summary.total, _TOTAL),
        "recent": {**_figures(summary.recent, _RECENT), **_client_errors(summary.recent)},
    }


def _figures(stats: TrafficStats, names: Sequence[str]) -> dict[str, float]:
    return {name: _rounded(value) for name in names if (value := getattr(stats, name))}


def _client_errors(stats: TrafficStats) -> dict[str, int]:
    number = stats.status_classes.get("4xx", 0)
    return {"client_errors": number} if number else {}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{_DIGITS}g}")
