"""Why a change of the configuration resolves what held: of the alert, its condition or its service. Pure."""

from collections.abc import Mapping

from metrics.alerts.change import Firing, Reason
from metrics.objectives.budgets import objective_names
from routing.alerts.policy import OBJECTIVES, Alert
from routing.router.table import Service


def is_unreadable(alert: Alert) -> bool:
    """Whether only the alert's name could be read. Such an alert resolves nothing."""
    return bool(alert.faults) and not alert.conditions


def ending(firing: Firing, alerts: Mapping[str, Alert], services: Mapping[str, Service]) -> Reason | None:
    """The reason, or None if it is still configured, whether it holds or not. `alerts` include disabled ones."""
    alert = alerts.get(firing.alert)
    if alert is None:
        return Reason.ALERT_REMOVED
    if is_unreadable(alert):
        return None
    if not alert.enabled:
        return Reason.ALERT_DISABLED
    if all(firing.condition != each.text for each in alert.conditions):
        return Reason.CONDITION_REMOVED
    if not alert.covers(firing.service):
        return Reason.SERVICE_EXCLUDED
    return _of_service(firing, services) if firing.service else None


def _of_service(firing: Firing, services: Mapping[str, Service]) -> Reason | None:
    service = services.get(firing.service)
    if service is None:
        return Reason.SERVICE_REMOVED
    if not service.policy.enabled:
        return Reason.SERVICE_DISABLED
    if firing.kind in OBJECTIVES and not service.is_out and firing.subject not in _objectives(service):
        return Reason.OBJECTIVE_REMOVED
    return None


def _objectives(service: Service) -> set[str]:
    """The subjects of conditions on the service's objectives."""
    names = () if service.slo is None else objective_names(service.slo)
    return {f"{service.name} {name}" for name in names}
