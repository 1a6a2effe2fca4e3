"""The page of alerts: what holds, who is notified, silences, and what was sent."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics import selectors
from metrics.alerts import operations
from metrics.alerts.change import reason_text
from metrics.dashboard.views import services_page, shown
from metrics.models import AlertMessage, AlertSilence, AlertState
from routing.alerts.policy import CRITICAL, Alert
from routing.pages.rendering import render
from routing.rights import Names, Right, is_any, services, within

MESSAGES: Final = 50
TONES: Final = {"sent": "good", "waiting": "", "failed": "bad"}
STATUSES: Final = {
    "firing": gettext_lazy("Firing"),
    "repeated": gettext_lazy("Still firing"),
    "resolved": gettext_lazy("Resolved"),
    "test": gettext_lazy("Test"),
}
MESSAGE_STATES: Final = {
    "sent": gettext_lazy("Sent"),
    "waiting": gettext_lazy("Waiting"),
    "failed": gettext_lazy("Failed"),
}
DURATIONS: Final = (
    (3_600, gettext_lazy("1 hour")),
    (14_400, gettext_lazy("4 hours")),
    (86_400, gettext_lazy("1 day")),
    (604_800, gettext_lazy("7 days")),
    (2_592_000, gettext_lazy("30 days")),
)


@services_page
def alerts_page(request: HttpRequest) -> HttpResponse:
    names, operated, now = shown(request), services(request.user, Right.OPERATE), selectors.now()
    found = operations.alerts_now(MESSAGES, names)
    known = set(selectors.service_names(names))
    silences = [_silence(silence, operated) for silence in found.silences]
    context = {
        "page": "alerts",
        "alerts": [_alert(alert) for alert in found.alerts],
        "firing": [_firing(state, known, found.silences) for state in found.firing],
        "silences": silences,
        "messages": [_message(message) for message in found.messages],
        "services": selectors.service_names(operated),
        "may_silence": is_any(operated) and bool(found.alerts or operated),
        "durations": DURATIONS,
        "as_of": {"text": _clock(now), "iso": _iso(now)},
    }
    return render(request, "dashboard/alerts.html", context)


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "name": alert.name,
        "enabled": alert.enabled,
        "conditions": [condition.text for condition in alert.conditions],
        "services": alert.services,
        "recipients": [recipient.label for recipient in alert.recipients],
        "faults": alert.faults,
    }


def _firing(state: AlertState, services: set[str], silences: Iterable[AlertSilence]) -> dict[str, Any]:
    is_silenced = any(
        silence.alert in ("", state.alert) and silence.service in ("", state.service) for silence in silences
    )
    return {
        "alert": state.alert,
        "condition": state.condition,
        "subject": state.subject,
        "service": state.service if state.service in services else "",
        "summary": state.summary,
        "since": _clock(state.since),
        "iso": _iso(state.since),
        "tone": "bad" if state.kind in CRITICAL else "warn",
        "state": _("Silenced") if is_silenced else _("Firing"),
    }


def _silence(silence: AlertSilence, operated: Names) -> dict[str, Any]:
    return {
        "id": silence.pk,
        "may_end": within(silence.service, operated),
        "alert": silence.alert or _("Every alert"),
        "service": silence.service or _("every service"),
        "reason": silence.reason,
        "actor": silence.actor,
        "until": _clock(silence.ends_at),
        "iso": _iso(silence.ends_at),
    }


def _message(message: AlertMessage) -> dict[str, Any]:
    changes = message.changes
    return {
        "recipient": message.recipient,
        "state": MESSAGE_STATES.get(message.state, message.state),
        "tone": TONES.get(message.state, ""),
        "time": _clock(message.sent_at or message.created_at),
        "iso": _iso(message.sent_at or message.created_at),
        "tries": message.tries,
        "failure": message.failure,
        "first": _change(changes[0]) if changes else None,
        "more": len(changes) - 1,
    }


def _change(change: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": STATUSES.get(change["kind"], change["kind"]),
        "subject": "" if change["subject"] in change["summary"] else f"{change['subject']}: ",
        "summary": change["summary"],
        "reason": reason_text(change.get("reason", "")),
    }


def _clock(seconds: float) -> str:
    return date_format(datetime.fromtimestamp(seconds, UTC), "DATETIME_FORMAT")


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
