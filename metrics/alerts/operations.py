"""Alerts for staff: what holds, silences, messages, and tests. They block: for Django's threads."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

from metrics import selectors
from metrics.audit import record_operation
from metrics.models import AlertMessage, AlertSilence, AlertState
from metrics.runtime_access import RecipientResult, run_on_loop, running
from routing.alerts.policy import Alert
from routing.errors import BadRequest, GatewayError
from routing.rights import Names, within

MAX_SILENCES: Final = 1_000
MAX_FIRING: Final = 500
MIN_SILENCE: Final = 60
MAX_SILENCE: Final = 30 * 86_400
"""Seconds: a silence that nobody ends must not last."""


class UnknownAlert(GatewayError):
    status = HTTPStatus.NOT_FOUND
    code = "unknown_alert"
    title = "There is no such alert or silence"


class AlertsNow(NamedTuple):
    """`alerts` are as the configuration has them now; `messages` are the latest."""

    alerts: Sequence[Alert]
    firing: Sequence[AlertState]
    silences: Sequence[AlertSilence]
    messages: Sequence[AlertMessage]


def alerts_now(messages: int, names: Names = None) -> AlertsNow:
    """With `names`, only what is about these services. Alerts and messages are left out, as they name others and
    recipients.
    """
    alerts = configured_alerts()
    firing = AlertState.objects.filter(alert__in=[alert.name for alert in alerts], clear_since=0)
    silences = AlertSilence.objects.filter(ends_at__gt=selectors.now())
    if names is not None:
        firing, silences = firing.filter(service__in=names), silences.filter(service__in=names)
        return AlertsNow((), list(firing[:MAX_FIRING]), list(silences[:MAX_SILENCES]), ())
    return AlertsNow(
        alerts, list(firing[:MAX_FIRING]), list(silences[:MAX_SILENCES]), list(AlertMessage.objects.all()[:messages])
    )


def configured_alerts() -> Sequence[Alert]:
    return sorted(running().gateway.live.table.alerts, key=lambda alert: alert.name)


def send_tests(actor: str, name: str | None = None) -> Sequence[RecipientResult]:
    """Send a test to the recipients of an alert, or of all. Raises UnknownAlert and StoreUnavailable."""
    _require(name)
    results = run_on_loop(running().alerts.test(name))
    sent = {result.recipient: result.failure or "sent" for result in results}
    record_operation(actor, "alert.test", after={"name": name or "every alert", "recipients": sent})
    return results


def silence(actor: str, *, alert: str = "", service: str = "", seconds: int, reason: str) -> AlertSilence:
    """Send nothing of an alert, a service, or both, for `seconds`. An empty name stands for every one.

    Raises UnknownAlert, ServiceNotConfigured, and BadRequest if there are too many silences.
    """
    _require(alert or None)
    if service:
        selectors.get_service(service)
    now = selectors.now()
    if AlertSilence.objects.filter(ends_at__gt=now).count() >= MAX_SILENCES:
        raise BadRequest(f"there are {MAX_SILENCES} silences: end some of them first")
    fields = {"alert": alert, "service": service, "reason": reason, "ends_at": now + seconds}
    row = AlertSilence.objects.create(actor=actor[:200], created_at=now, **fields)
    after = {"name": alert or "every alert", "reason": reason, "seconds": seconds}
    record_operation(actor, "alert.silence", service, after=after)
    return row


def end_silence(actor: str, number: int, names: Names = None) -> None:
    """End a silence, of one of these services. Raises UnknownAlert."""
    now = selectors.now()
    row = AlertSilence.objects.filter(pk=number, ends_at__gt=now).first()
    if row is None or not within(row.service, names):
        raise UnknownAlert(f"there is no silence {number}")
    AlertSilence.objects.filter(pk=number).update(ends_at=now)
    record_operation(actor, "alert.unsilence", row.service, after={"name": row.alert, "reason": row.reason})


def _require(name: str | None) -> None:
    if name is not None and all(alert.name != name for alert in configured_alerts()):
        raise UnknownAlert(f"there is no alert {name}")
