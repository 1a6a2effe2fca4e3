"""Alerts, and the messages that were sent about them."""

from datetime import UTC, datetime
from typing import Any, Final

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display

from metrics.admin.masked_settings import MaskedSettingsMixin
from metrics.admin.readonly import ReadOnlyAdmin
from metrics.alerts import operations
from metrics.alerts.change import reason_text
from metrics.audit import staff_actor
from metrics.models import AlertMessage
from resilience.outage import StoreUnavailable
from routing.admin.fields import FileSyntaxMixin
from routing.admin.rights import RightsMixin
from routing.models import AlertRule
from routing.pages.site import admin_site

SETTINGS_HELP: Final = (
    '{on: [circuit.open, "error_rate > 5% for 5m", budget.80], services: [crm], '
    'to: ["slack:env:GATEWAY_SECRET_SLACK", "email:oncall@example.com"], repeat: 4h}: '
    "secrets are variables or files, not values"
)


@admin.register(AlertRule, site=admin_site())
class AlertRuleAdmin(RightsMixin, MaskedSettingsMixin, FileSyntaxMixin, ModelAdmin):
    """Its secrets are references, of which nothing has to be masked."""

    settings_help = SETTINGS_HELP
    list_display = ("name", "enabled", "conditions", "recipients")
    list_filter = ("enabled",)
    search_fields = ("name",)
    fields = ("name", "enabled", "settings")
    actions = ("send_test",)

    @admin.display(description="on")
    def conditions(self, alert: AlertRule) -> str:
        return _joined(alert.settings.get("on"))

    @admin.display(description="to")
    def recipients(self, alert: AlertRule) -> str:
        return _joined(alert.settings.get("to"))

    @admin.action(description="Send a test", permissions=("operate",))
    def send_test(self, request: HttpRequest, queryset: "models.QuerySet[AlertRule]") -> None:
        for alert in queryset:
            try:
                results = operations.send_tests(staff_actor(request.user), alert.name)
            except (operations.UnknownAlert, StoreUnavailable):
                self.message_user(request, f"{alert.name}: not sent, it is not in use yet.", messages.ERROR)
                continue
            for result in results:
                level = messages.ERROR if result.failure else messages.SUCCESS
                self.message_user(request, f"{result.recipient}: {result.failure or 'sent'}.", level)


@admin.register(AlertMessage, site=admin_site())
class AlertMessageAdmin(ReadOnlyAdmin):
    list_display = ("created", "recipient", "state_label", "tries", "text", "failure")
    list_filter = ("state",)
    search_fields = ("recipient", "failure")
    fields = ("id", "recipient", "state_label", "created", "sent", "tries", "failure", "text")
    readonly_fields = fields

    @display(description="state", label={"sent": "success", "waiting": "info", "failed": "danger"})
    def state_label(self, message: AlertMessage) -> str:
        return str(message.state)

    @admin.display(description="created", ordering="created_at")
    def created(self, message: AlertMessage) -> Any:
        return _time(message.created_at)

    @admin.display(description="sent", ordering="sent_at")
    def sent(self, message: AlertMessage) -> Any:
        return _time(message.sent_at)

    @admin.display(description="changes")
    def text(self, message: AlertMessage) -> str:
        return "; ".join(map(_change, message.changes))


def _change(change: dict[str, Any]) -> str:
    reason = reason_text(change.get("reason", ""))
    return f"{change['kind']} {change['subject']}: {change['summary']}" + (f" ({reason})" if reason else "")


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _time(seconds: float) -> Any:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
