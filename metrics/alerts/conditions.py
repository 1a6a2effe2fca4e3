"""Which conditions hold, in a snapshot of what is known of services, quotas, certificates and webhooks. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from metrics.alerts.change import Firing
from metrics.alerts.traffic import traffic_summary
from metrics.incidents import circuits
from metrics.incidents.traffic import Tally
from metrics.objectives.budgets import ObjectiveStatus
from metrics.rounding import percent, significant
from resilience.breaker.machine import Snapshot as Circuit
from resilience.durations import DAY
from routing.alerts.policy import OBJECTIVES, TRAFFIC, Alert, AlertCondition, ConditionKind
from routing.router.table import Service

MAX_SUMMARY: Final = 500
"""The longest summary, in characters."""


class Quota(NamedTuple):
    """`name` is its owner and its own name; `warned` percent of it are used, until `ends` (Unix seconds)."""

    name: str
    warned: int
    ends: float


class Certificate(NamedTuple):
    """`name` is where it was seen, of a target its host and port. It ends at `ends` (Unix seconds)."""

    name: str
    service: str
    ends: float


class Failing(NamedTuple):
    """A webhook whose work fails, or whose watch cannot be renewed, and why."""

    webhook: str
    service: str
    text: str


class GatewaySnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What is known at `at` (Unix seconds). By service: circuits, why targets receive no calls, and counts by minute.

    `unknown` are the kinds of conditions that could not be read.
    """

    at: float
    services: Mapping[str, Service] = {}
    circuits: Mapping[str, Circuit] = {}
    unhealthy: Mapping[str, Mapping[str, str]] = {}
    minutes: Mapping[str, Mapping[int, Tally]] = {}
    objectives: Mapping[str, tuple[ObjectiveStatus, ...]] = {}
    quotas: tuple[Quota, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    webhooks: tuple[Failing, ...] = ()
    unknown: frozenset[ConditionKind] = frozenset()


def firing(alerts: Iterable[Alert], snapshot: GatewaySnapshot) -> Iterator[Firing]:
    """The conditions of each alert that hold. A condition that could not be read does not hold."""
    for alert in alerts:
        for condition in alert.conditions:
            if condition.kind in snapshot.unknown:
                continue
            for subject, service, summary in _found(alert, condition, snapshot):
                yield Firing(
                    alert=alert.name,
                    condition=condition.text,
                    kind=condition.kind,
                    subject=subject[:MAX_SUMMARY],
                    service=service,
                    summary=summary[:MAX_SUMMARY],
                )


_Found = tuple[str, str, str]
"""The subject, its service and the summary."""


def _found(alert: Alert, condition: AlertCondition, snapshot: GatewaySnapshot) -> Iterator[_Found]:
    match condition.kind:
        case ConditionKind.QUOTA:
            yield from _quotas(condition, snapshot) if alert.covers("") else ()
        case ConditionKind.CERTIFICATE:
            yield from _certificates(alert, condition, snapshot)
        case ConditionKind.WEBHOOK:
            covered = (each for each in snapshot.webhooks if alert.covers(each.service))
            yield from ((each.webhook, each.service, each.text) for each in covered)
        case kind if kind in OBJECTIVES:
            yield from _objectives(alert, condition, snapshot)
        case _:
            for name, service in snapshot.services.items():
                summary = _of_service(condition, service, snapshot) if alert.covers(name) else None
                if summary is not None:
                    yield name, name, summary


def _of_service(condition: AlertCondition, service: Service, snapshot: GatewaySnapshot) -> str | None:
    name = service.name
    if condition.kind in TRAFFIC:
        return traffic_summary(condition, snapshot.minutes.get(name, {}), service.thresholds, snapshot.at)
    if condition.kind is ConditionKind.OUT_OF_SERVICE:
        return "the configuration cannot be loaded: every request receives 503" if service.is_out else None
    if condition.kind is ConditionKind.CIRCUIT:
        circuit = snapshot.circuits.get(name, Circuit())
        signal = circuits.circuit_signal(circuit.state, circuit.reason, (), {}, snapshot.at)
    else:
        signal = circuits.target_signal(snapshot.unhealthy.get(name, {}), len(service.targets), {})
    return None if signal is None else signal.text


def _objectives(alert: Alert, condition: AlertCondition, snapshot: GatewaySnapshot) -> Iterator[_Found]:
    for name, statuses in snapshot.objectives.items():
        for status in statuses if alert.covers(name) else ():
            summary = _of_objective(condition, status)
            if summary is not None:
                yield f"{name} {status.name}", name, summary


def _of_objective(condition: AlertCondition, status: ObjectiveStatus) -> str | None:
    if condition.kind is ConditionKind.BUDGET:
        used = status.budget_used
        if used * 100 < condition.threshold or not status.bad:
            return None
        missed = f"{status.bad} of {status.total} requests missed it"
        return f"{percent(used)} of the error budget of {status.text} is used: {missed}"
    alarm = status.fast_burn if condition.kind is ConditionKind.FAST_BURN else status.slow_burn
    if alarm is None:
        return None
    rate = significant(alarm.rate, 3)
    return f"the error budget of {status.text} is used {rate} times as fast as it lasts, over {alarm.window}"


def _quotas(condition: AlertCondition, snapshot: GatewaySnapshot) -> Iterator[_Found]:
    for quota in snapshot.quotas:
        if quota.warned >= condition.threshold:
            used = "is used up" if quota.warned >= 100 else f"is used by {quota.warned}% and more"
            yield quota.name, "", f"the quota {quota.name} {used}"


def _certificates(alert: Alert, condition: AlertCondition, snapshot: GatewaySnapshot) -> Iterator[_Found]:
    for found in snapshot.certificates:
        left = (found.ends - snapshot.at) / DAY
        if left < condition.threshold and alert.covers(found.service):
            text = f"ends in {left:.1f} days" if left > 0 else "has ended"
            yield found.name, found.service, f"the certificate of {found.name} {text}"
