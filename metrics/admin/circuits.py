"""Every service's circuit, and an operator's orders to it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from unfold.decorators import action, display
from unfold.forms import ActionForm, BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from metrics import selectors, services
from metrics.admin.readonly import ReadOnlyAdmin, actor
from metrics.models import Circuit
from metrics.read_models import CircuitStatus
from resilience.breaker.machine import State

SPANS: Final = [
    ("", "until it is reset"),
    ("60", "1 minute"),
    ("300", "5 minutes"),
    ("3600", "1 hour"),
    ("86400", "1 day"),
]
LABELS: Final = {
    "CLOSED": "success",
    "OPEN": "danger",
    "FORCED_OPEN": "danger",
    "HALF_OPEN": "warning",
    "DISABLED": "warning",
}


class OrderForm(ActionForm):
    """What an override needs beside its name."""

    ttl = forms.ChoiceField(
        choices=SPANS, required=False, label="", widget=UnfoldAdminSelectWidget({"aria-label": "For how long"})
    )
    reason = forms.CharField(
        max_length=200,
        required=False,
        label="",
        widget=UnfoldAdminTextInputWidget({"aria-label": "Why", "placeholder": "Why: for an override"}),
    )


class ResetForm(BaseDialogForm):
    """Asks with the circuit's name: the dialog lies over its row."""

    form_before_template = "admin/gateway/reset.html"

    def get_before_template_context(self, request: HttpRequest, object_id: Any = None) -> dict[str, Any]:  # noqa: ARG002 - unfold's signature
        return {"reading": _readings([get_object_or_404(Circuit, pk=object_id)])[0]}


def _readings(circuits: Sequence[Circuit]) -> list[CircuitStatus]:
    """Each circuit as this moment knows it."""
    known = {reading.service: reading for reading in selectors.circuits()}
    return [known.get(one.name, CircuitStatus(service=one.name, state=State.CLOSED)) for one in circuits]


@admin.register(Circuit)
class CircuitAdmin(ReadOnlyAdmin):
    list_display = ("name", "state", "calls", "failures", "until", "reason")
    list_display_links = ("name",)
    search_fields = ("name",)
    actions = ("reset", "force_open", "disable")
    actions_row = ("reset_row",)
    action_form = OrderForm

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, each row with its circuit as this moment knows it."""
        listed = super().get_changelist_instance(request)
        for row, reading in zip(listed.result_list, _readings(listed.result_list), strict=True):
            row.reading = reading
        return listed

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:  # noqa: ARG002 - unfold's signature
        return redirect("dashboard:service", get_object_or_404(Circuit, pk=object_id).name)

    @display(description="state", label=LABELS)
    def state(self, circuit: Any) -> str:
        return str(circuit.reading.state)

    @admin.display(description="calls")
    def calls(self, circuit: Any) -> int:
        return int(circuit.reading.total_requests)

    @admin.display(description="failures")
    def failures(self, circuit: Any) -> int:
        return int(circuit.reading.failures)

    @admin.display(description="until")
    def until(self, circuit: Any) -> str:
        until = circuit.reading.until
        return "" if until is None else f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M:%S} UTC"

    @admin.display(description="reason")
    def reason(self, circuit: Any) -> str:
        return str(circuit.reading.reason)

    @admin.action(description="Reset: close it", permissions=("order",))
    def reset(self, request: HttpRequest, queryset: "models.QuerySet[Circuit]") -> None:
        self._order(request, queryset, State.CLOSED)

    @action(
        description="Reset: close it",
        url_path="reset",
        icon="restart_alt",
        permissions=("order",),
        dialog={
            "title": "Reset the circuit",
            "description": "It closes: calls pass again, whatever stopped them. An override ends.",
            "form_class": ResetForm,
            "form_submit_text": "Reset",
        },
    )
    def reset_row(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:  # noqa: ARG002 - unfold's signature
        """A GET asks; only the POST of the form it shows, with its token, comes here."""
        circuit = get_object_or_404(Circuit, pk=object_id)
        if self._ordered(request, circuit.name, State.CLOSED, None, ""):
            self.message_user(request, f"{circuit.name} is now {State.CLOSED}.")
        listed = reverse("admin:metrics_circuit_changelist")
        # The dialog asks in the background: a redirect would be followed there, out of sight.
        return HttpResponse(headers={"HX-Redirect": listed}) if "HX-Request" in request.headers else redirect(listed)

    @admin.action(description="Force open: no call passes", permissions=("order",))
    def force_open(self, request: HttpRequest, queryset: "models.QuerySet[Circuit]") -> None:
        self._order(request, queryset, State.FORCED_OPEN)

    @admin.action(description="Disable: every call passes", permissions=("order",))
    def disable(self, request: HttpRequest, queryset: "models.QuerySet[Circuit]") -> None:
        self._order(request, queryset, State.DISABLED)

    def has_order_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("metrics.change_circuit")

    def _order(self, request: HttpRequest, queryset: "models.QuerySet[Circuit]", state: State) -> None:
        span, reason = request.POST.get("ttl", ""), request.POST.get("reason", "").strip()
        if state is not State.CLOSED and not reason:
            self.message_user(request, "Say why: an override needs a reason.", messages.ERROR)
            return
        ttl = float(span) if span in dict(SPANS) and span and state is not State.CLOSED else None
        done = [self._ordered(request, circuit.name, state, ttl, reason) for circuit in queryset]
        self.message_user(request, f"{sum(done)} now {state}.")

    def _ordered(self, request: HttpRequest, name: str, state: State, ttl: float | None, reason: str) -> bool:
        try:
            services.override_circuit(actor(request), name, state, ttl, reason)
        except selectors.ServiceNotConfigured:
            self.message_user(request, f"{name} is not being served yet.", messages.ERROR)
            return False
        return True
