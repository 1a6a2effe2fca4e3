"""Alerts, and the messages that were sent about them."""

from datetime import UTC, datetime
from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from metrics.admin.issuers import joined
from metrics.admin.readonly import ReadOnlyAdmin
from metrics.alerts import operations
from metrics.alerts.change import reason_text
from metrics.audit import staff_actor
from metrics.models import AlertMessage
from resilience.outage import StoreUnavailable
from routing.admin.mapping_forms import AlertForm
from routing.admin.rights import HiddenColumnsMixin
from routing.admin.settings_admin import SettingsAdmin
from routing.models import AlertRule
from routing.pages.names import with_name
from routing.pages.site import admin_site


@admin.register(AlertRule, site=admin_site())
class AlertRuleAdmin(HiddenColumnsMixin, SettingsAdmin, ModelAdmin):
    form = AlertForm
    hidden_columns = ("settings",)
    list_display = ("name", "enabled", "conditions", "recipients")
    list_filter = ("enabled",)
    search_fields = ("name",)
    sections = AlertForm.sections
    identity_fields = ("name", "enabled")
    plain_fieldsets = ((None, {"fields": (("name", "enabled"), "on", "services", "to", ("repeat", "resolve_after"))}),)
    actions = ("send_test",)

    @admin.display(description=_("on"))
    def conditions(self, alert: AlertRule) -> str:
        return joined(alert.settings.get("on"))

    @admin.display(description=_("to"))
    def recipients(self, alert: AlertRule) -> str:
        return joined(alert.settings.get("to"))

    @admin.action(description=_("Send a test"), permissions=("operate",))
    def send_test(self, request: HttpRequest, queryset: "models.QuerySet[AlertRule]") -> None:
        for alert in queryset:
            try:
                results = operations.send_tests(staff_actor(request.user), alert.name)
            except (operations.UnknownAlert, StoreUnavailable):
                self.message_user(
                    request,
                    gettext("%(alert)s: not sent, it is not in use yet.") % {"alert": alert.name},
                    messages.ERROR,
                )
                continue
            sent = gettext("sent")
            for result in results:
                level = messages.ERROR if result.failure else messages.SUCCESS
                self.message_user(request, f"{result.recipient}: {result.failure or sent}.", level)


@admin.register(AlertMessage, site=admin_site())
class AlertMessageAdmin(ReadOnlyAdmin):
    list_display = ("created", "recipient", "state_label", "tries", "text", "failure")
    list_filter = ("state",)
    search_fields = ("recipient", "failure")
    fields = ("id", "recipient", "state_name", "created", "sent", "tries", "failure", "text")
    readonly_fields = fields

    @display(description=_("state"), label={"sent": "success", "waiting": "info", "failed": "danger"})
    def state_label(self, message: AlertMessage) -> tuple[str, str]:
        return with_name(str(message.state))

    @admin.display(description=_("state"))
    def state_name(self, message: AlertMessage) -> str:
        return str(self.state_label(message)[1])

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, message: AlertMessage) -> Any:
        return _time(message.created_at)

    @admin.display(description=_("sent"), ordering="sent_at")
    def sent(self, message: AlertMessage) -> Any:
        return _time(message.sent_at)

    @admin.display(description=_("changes"))
    def text(self, message: AlertMessage) -> str:
        return "; ".join(map(_change, message.changes))


def _change(change: dict[str, Any]) -> str:
    reason = reason_text(change.get("reason", ""))
    return f"{change['kind']} {change['subject']}: {change['summary']}" + (f" ({reason})" if reason else "")


def _time(seconds: float) -> Any:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
