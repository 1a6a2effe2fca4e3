"""The page that simulates a service's recorded calls with other settings of its circuit breaker."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django import forms
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from metrics import selectors
from metrics.advice import circuits
from metrics.advice.breaker import SimulationResult
from metrics.advice.circuits import Comparison
from metrics.advice.records import ChangedSetting, Draft
from metrics.advice.words import setting
from metrics.dashboard.advice import draft_url
from metrics.dashboard.usage_figures import long_duration
from metrics.dashboard.views import services_page, shown
from resilience.breaker.policy import BreakerPolicy
from routing.configuration.values import duration
from routing.pages.rendering import render
from routing.rights import Right, require


class Duration(forms.CharField):
    """As the configuration file writes it: `30s`, `5m`."""

    def clean(self, value: Any) -> float | None:
        text = super().clean(value)
        try:
            return float(duration(text)) if text else None
        except ValueError as fault:
            raise forms.ValidationError(f"A duration {fault}.") from None


class BreakerForm(forms.Form):
    service = forms.CharField(required=False, max_length=63)
    failure_threshold = forms.IntegerField(required=False, min_value=1, max_value=1_000)
    window = Duration(required=False, max_length=20)
    open_for = Duration(required=False, max_length=20)

    def clean_service(self) -> str:
        name: str = self.cleaned_data["service"]
        if name and name not in selectors.configured_services():
            raise forms.ValidationError("There is no such service.")
        return name

    def policy(self, present: BreakerPolicy) -> BreakerPolicy:
        """The present policy with what was entered. What is out of bounds is shown as an error."""
        names = ("failure_threshold", "window", "open_for")
        entered = {name: value for name in names if (value := self.cleaned_data.get(name)) is not None}
        try:
            return msgspec.structs.replace(present, **entered)
        except ValueError as fault:
            self.add_error(None, f"{fault}.")
            return present


@services_page
def breaker_page(request: HttpRequest) -> HttpResponse:
    """`?service=&failure_threshold=&window=&open_for=`."""
    if asked := request.GET.get("service"):
        require(request.user, Right.VIEW, asked)
    form = BreakerForm(request.GET)
    form.is_valid()
    names = selectors.service_names(shown(request))
    name = form.cleaned_data.get("service") or (names[0] if names else "")
    context: dict[str, Any] = {"page": "advice", "form": form, "services": names, "service": name}
    if name:
        present = selectors.get_service(name).policy.breaker
        other = form.policy(present)
        context |= {"present": _settings(present), "other": _settings(other)}
        try:
            context |= _context(circuits.compare(name, other), _draft(name, present, other))
        except (DatabaseError, InterfaceError):
            context["is_away"] = True
    return render(request, "dashboard/breaker.html", context)


def _context(found: Comparison, draft: Draft | None) -> dict[str, Any]:
    recorded = found.recorded
    rows = [
        {
            "title": _("As it was"),
            "opened": recorded.opened,
            "open": "",
            "refused": recorded.refused,
            "lost": None,
            "failed": recorded.failed,
        },
        _row(_("Present settings, simulated"), found.present),
    ]
    if draft is not None:
        rows.append(_row(_("Other settings, simulated"), found.other))
    return {
        "rows": rows,
        "calls": recorded.calls,
        "since": date_format(datetime.fromtimestamp(recorded.since, UTC), "DATETIME_FORMAT"),
        "draft": draft_url(draft) if draft else "",
    }


def _row(title: str, result: SimulationResult) -> dict[str, Any]:
    return {
        "title": title,
        "opened": result.opened,
        "open": long_duration(result.open_seconds) if result.opened else "",
        "refused": result.refused,
        "lost": result.lost,
        "failed": result.failed,
    }


def _settings(policy: BreakerPolicy) -> dict[str, Any]:
    return {
        "failure_threshold": policy.failure_threshold,
        "window": setting(policy.window),
        "open_for": setting(policy.open_for),
    }


def _draft(service: str, present: BreakerPolicy, other: BreakerPolicy) -> Draft | None:
    """What differs from the present settings; None if nothing does."""
    before: Mapping[str, Any] = _settings(present)
    changed = {name: value for name, value in _settings(other).items() if value != before[name]}
    return Draft(change=ChangedSetting.BREAKER, service=service, **changed) if changed else None
