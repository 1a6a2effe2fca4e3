"""What the dashboard's pages receive each second: a small row for each service, and in turn if they are many."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from metrics.incidents.incident import Incident
from metrics.read_models import ServiceStatus, Summary, TrafficStats

MAX_BYTES: Final = 16_000
"""Of the rows of one message."""
MAX_INCIDENTS: Final = 5
"""Incidents in one message; the rest are a number."""
_DIGITS: Final = 4
_RECENT: Final = ("requests", "errors", "hits", "misses", "hit_rate", "p50", "p95", "p99")
_TOTAL: Final = ("requests", "hits", "misses", "hit_rate", "saved_calls", "saved_seconds", "saved_usd")


class Services(NamedTuple):
    """The names of all services, in order, and a function that reads the status of one."""

    names: Sequence[str]
    status_of: Callable[[str], ServiceStatus]


class Message(NamedTuple):
    """`last` is the name of the service whose row is the last one, if not all rows had room."""

    text: bytes
    last: str


def complete(summary: Summary, services: Iterable[ServiceStatus], incidents: Sequence[Incident], version: int) -> bytes:
    """Everything, for a page that has just connected."""
    return _message(summary, [encode_row(service) for service in services], incidents, version, is_complete=True)


def update(
    summary: Summary,
    services: Services,
    incidents: Sequence[Incident],
    version: int,
    after: str,
) -> Message:
    """As many rows as there is room for: of services with incidents, then of those that follow the service `after`."""
    urgent = {incident.service for incident in incidents[:MAX_INCIDENTS]}
    first = [name for name in services.names if name in urgent]
    others = [name for name in services.names if name not in urgent]
    start = next((index for index, name in enumerate(others) if name > after), 0)
    rows: list[bytes] = []
    size, last = 0, after
    for name in [*first, *others[start:], *others[:start]]:
        row = encode_row(services.status_of(name))
        if rows and size + len(row) > MAX_BYTES:
            break
        rows.append(row)
        size += len(row)
        last = last if name in urgent else name
    is_complete = len(rows) == len(services.names)
    return Message(_message(summary, rows, incidents, version, is_complete=is_complete), "" if is_complete else last)


def encode_row(service: ServiceStatus) -> bytes:
    """What the overview and a service's page show: without zeros and empty values."""
    circuit = msgspec.structs.asdict(service.circuit)
    row = {
        "name": service.name,
        "enabled": service.enabled,
        "targets": service.targets,
        "circuit": {name: value for name, value in circuit.items() if value and name != "service"},
        "recent": {**_figures(service.recent, _RECENT), **_client_errors(service.recent)},
        "total": _figures(service.total, _TOTAL),
        "sparkline": service.sparkline,
        **({"faults": service.faults, "is_out": service.is_out} if service.faults else {}),
    }
    return msgspec.json.encode(row)


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
        "incidents": [brief(incident) for incident in incidents[:MAX_INCIDENTS]],
        "more_incidents": max(0, len(incidents) - MAX_INCIDENTS),
    }
    return msgspec.json.encode(message)


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
