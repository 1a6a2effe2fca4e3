"""The circuits of all services, and overrides of their states."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display
from unfold.forms import ActionForm, BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from metrics import selectors, services
from metrics.admin.dialogs import leave_dialog
from metrics.admin.readonly import ServiceReadOnlyAdmin
from metrics.audit import staff_actor
from metrics.models import Circuit
from metrics.read_models import CircuitStatus
from resilience.breaker.machine import State
from routing.pages.site import admin_site
from routing.rights import Right, require

DURATIONS: Final = [
    ("", _("until reset")),
    ("60", _("1 minute")),
    ("300", _("5 minutes")),
    ("3600", _("1 hour")),
    ("86400", _("1 day")),
]
STATE_NAMES: Final = {
    State.CLOSED: _("Closed"),
    State.OPEN: _("Open"),
    State.HALF_OPEN: _("Half open"),
    State.FORCED_OPEN: _("Forced open"),
    State.DISABLED: _("Disabled"),
}
"""The names of states, as on the dashboard."""
STATE_LABELS: Final = {
    "CLOSED": "success",
    "OPEN": "danger",
    "FORCED_OPEN": "danger",
    "HALF_OPEN": "warning",
    "DISABLED": "warning",
}


class OverrideForm(ActionForm):
    """The duration and the reason of an override."""

    ttl = forms.ChoiceField(
        choices=DURATIONS, required=False, label="", widget=UnfoldAdminSelectWidget({"aria-label": _("Duration")})
    )
    reason = forms.CharField(
        max_length=200,
        required=False,
        label="",
        widget=UnfoldAdminTextInputWidget({"aria-label": _("Reason"), "placeholder": _("Reason for the override")}),
    )


class ResetForm(BaseDialogForm):
    """The confirmation dialog of a reset."""

    form_before_template = "admin/gateway/reset.html"

    def get_before_template_context(self, request: HttpRequest, object_id: Any = None) -> dict[str, Any]:
        circuit = get_object_or_404(Circuit, pk=object_id)
        require(request.user, Right.OPERATE, circuit.name)
        (status,) = _statuses([circuit])
        return {"circuit": status, "state": STATE_NAMES[State(status.state)]}


def _statuses(circuits: Sequence[Circuit]) -> list[CircuitStatus]:
    statuses = {status.service: status for status in selectors.circuits()}
    return [statuses.get(row.name, CircuitStatus(service=row.name, state=State.CLOSED)) for row in circuits]


@admin.register(Circuit, site=admin_site())
class CircuitAdmin(ServiceReadOnlyAdmin):
    service_path = "name"
    operated = frozenset({"override"})
    list_display = ("name", "state", "calls", "failures", "until", "reason")
    list_display_links = ("name",)
    search_fields = ("name",)
    actions = ("reset", "force_open", "disable")
    actions_row = ("reset_row",)
    action_form = OverrideForm

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Adds each circuit's current status to its row."""
        changelist = super().get_changelist_instance(request)
        for row, status in zip(changelist.result_list, _statuses(changelist.result_list), strict=True):
            row.status = status
        return changelist

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return redirect("dashboard:service", self.row_or_404(request, object_id, Right.VIEW).name)

    @display(description=_("state"), label=STATE_LABELS)
    def state(self, circuit: Any) -> tuple[str, str]:
        """The key of STATE_LABELS, and what is shown."""
        return circuit.status.state, str(STATE_NAMES[State(circuit.status.state)])

    @admin.display(description=_("calls"))
    def calls(self, circuit: Any) -> int:
        return int(circuit.status.total_requests)

    @admin.display(description=_("failures"))
    def failures(self, circuit: Any) -> int:
        return int(circuit.status.failures)

    @admin.display(description=_("until"))
    def until(self, circuit: Any) -> str:
        until = circuit.status.until
        return "\u2013" if until is None else date_format(datetime.fromtimestamp(until, UTC), "DATETIME_FORMAT")

    @admin.display(description=_("reason"))
    def reason(self, circuit: Any) -> str:
        return str(circuit.status.reason)

    @admin.action(description=_("Reset circuit"), permissions=("override",))
    def reset(self, request: HttpRequest, queryset: "models.QuerySet[Circuit]") -> None:
        self._override_all(request, queryset, State.CLOSED)

    @action(
        description=_("Reset circuit"),
        url_path="reset",
        icon="restart_alt",
        permissions=("override",),
        dialog={
            "title": _("Reset the circuit"),
            "description": _("The circuit closes, calls reach the backend again, and an override ends."),
            "form_class": ResetForm,
            "form_submit_text": _("Reset"),
        },
    )
    def reset_row(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:  # noqa: ARG002 - Unfold's signature
        """Called for the POST of the dialog's form only; Unfold handles the GET."""
        circuit = self.row_or_404(request, object_id, Right.OPERATE)
        if self._override(request, circuit.name, State.CLOSED, None, ""):
            self.message_user(request, _("The circuit of %(service)s is closed.") % {"service": circuit.name})
        self._check_reach(request)
        return leave_dialog(request, "metrics_circuit_changelist")

    @admin.action(description=_("Force open: no calls reach the backend"), permissions=("override",))
    def force_open(self, request: HttpRequest, queryset: "models.QuerySet[Circuit]") -> None:
        self._override_all(request, queryset, State.FORCED_OPEN)

    @admin.action(description=_("Disable: all calls reach the backend"), permissions=("override",))
    def disable(self, request: HttpRequest, queryset: "models.QuerySet[Circuit]") -> None:
        self._override_all(request, queryset, State.DISABLED)

    def has_override_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_operate_permission(request, object_id)

    def _override_all(self, request: HttpRequest, queryset: "models.QuerySet[Circuit]", state: State) -> None:
        duration, reason = request.POST.get("ttl", ""), request.POST.get("reason", "").strip()
        if state is not State.CLOSED and not reason:
            self.message_user(request, _("An override needs a reason."), messages.ERROR)
            return
        ttl = float(duration) if duration in dict(DURATIONS) and duration and state is not State.CLOSED else None
        done = [self._override(request, circuit.name, state, ttl, reason) for circuit in queryset]
        named = {"state": STATE_NAMES[state], "number": sum(done)}
        self.message_user(request, _("Circuits changed to %(state)s: %(number)d.") % named)
        self._check_reach(request)

    def _check_reach(self, request: HttpRequest) -> None:
        if not selectors.circuits_are_shared():
            self.message_user(
                request, _("Redis is unavailable: only one of the workers has changed."), messages.WARNING
            )

    def _override(self, request: HttpRequest, name: str, state: State, ttl: float | None, reason: str) -> bool:
        try:
            services.override_circuit(staff_actor(request.user), name, state, ttl, reason)
        except selectors.ServiceNotConfigured:
            self.message_user(
                request, _("%(service)s is not in the configuration in use yet.") % {"service": name}, messages.ERROR
            )
            return False
        return True
