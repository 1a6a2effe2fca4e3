"""Webhooks, and their deliveries whose work has failed."""

from typing import Any, Final

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.defaultfilters import filesizeformat
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from metrics import services
from metrics.admin.masked_settings import MaskedSettingsForm, MaskedSettingsMixin
from metrics.admin.readonly import ReadOnlyAdmin
from metrics.audit import staff_actor
from resilience.outage import StoreUnavailable
from routing.admin.fields import FileSyntaxMixin
from routing.admin.rights import RightsMixin
from routing.models import FailedDelivery, Webhook
from routing.pages.site import admin_site, admin_url
from routing.presets.expand import expand_webhook
from routing.rights import Right, may
from routing.webhooks.delivery import decode

SHOWN_BYTES: Final = 64 * 1_024
"""Of a delivery's body, on its page."""
SETTINGS_HELP: Final = (
    '{verify: slack, secret: "env:GATEWAY_SECRET_SLACK", service: slackIntelligence, '
    'invalidates: ["channel:{event.channel}"], publish: {topic: "slack:{event.type}"}}: '
    "secrets are variables or files, not values"
)


class WebhookForm(MaskedSettingsForm):
    secret_name = "secret"  # noqa: S105 - the name of a setting

    def to_document(self, settings: Any) -> dict[str, Any]:
        return {"webhooks": {self.instance.name or "": settings}}

    def from_document(self, document: dict[str, Any]) -> Any:
        return document["webhooks"][self.instance.name or ""]


@admin.register(Webhook, site=admin_site())
class WebhookAdmin(RightsMixin, MaskedSettingsMixin, FileSyntaxMixin, ModelAdmin):
    form = WebhookForm
    settings_help = SETTINGS_HELP
    list_display = ("name", "enabled", "verify", "service", "address")
    list_filter = ("enabled",)
    search_fields = ("name",)
    fields = ("name", "enabled", "settings")

    @admin.display(description="verify")
    def verify(self, webhook: Webhook) -> str:
        return str(expand_webhook(webhook.settings).get("verify", ""))

    @admin.display(description="service")
    def service(self, webhook: Webhook) -> str:
        return str(webhook.settings.get("service", ""))

    @admin.display(description="address")
    def address(self, webhook: Webhook) -> str:
        return f"/hooks/{webhook.name}"


@admin.register(FailedDelivery, site=admin_site())
class FailedDeliveryAdmin(ReadOnlyAdmin):
    """For those who may operate the gateway: deliveries contain the provider's data."""

    list_display = ("webhook", "failed_at", "received_at", "tries", "error", "stored_size")
    list_filter = ("webhook",)
    search_fields = ("webhook", "error")
    actions = ("replay", "dismiss")
    actions_row = ("replay_row",)
    fields = ("webhook", "failed_at", "received_at", "tries", "error", "stored_size", "done", "body")
    readonly_fields = fields

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.OPERATE)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return may(request.user, Right.OPERATE)

    def has_operate_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002 - Unfold's
        return may(request.user, Right.OPERATE)

    @admin.display(description="size", ordering="size")
    def stored_size(self, failed: FailedDelivery) -> str:
        return filesizeformat(failed.size)

    @admin.display(description="done")
    def done(self, failed: FailedDelivery) -> str:
        return ", ".join(decode(bytes(failed.data)).done) or "nothing"

    @admin.display(description="body")
    def body(self, failed: FailedDelivery) -> str:
        return decode(bytes(failed.data)).body[:SHOWN_BYTES].decode("utf-8", "replace")

    @admin.action(description="Replay", permissions=("operate",))
    def replay(self, request: HttpRequest, queryset: "models.QuerySet[FailedDelivery]") -> None:
        replayed = sum(self._replay(request, failed) for failed in queryset)
        self.message_user(request, f"{replayed} replayed.")

    @admin.action(description="Dismiss: the work is not done", permissions=("operate",))
    def dismiss(self, request: HttpRequest, queryset: "models.QuerySet[FailedDelivery]") -> None:
        dismissed = list(queryset)
        for failed in dismissed:
            services.dismiss_delivery(staff_actor(request.user), failed)
        self.message_user(request, f"{len(dismissed)} dismissed.")

    @action(
        description="Replay",
        url_path="replay",
        icon="replay",
        permissions=("operate",),
        dialog={
            "title": "Replay the delivery",
            "description": "The parts of its work that are not done are tried again.",
            "form_class": BaseDialogForm,
            "form_submit_text": "Replay",
        },
    )
    def replay_row(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:  # noqa: ARG002 - Unfold's signature
        """Called for the POST of the dialog's form only; Unfold handles the GET."""
        if self._replay(request, get_object_or_404(FailedDelivery, pk=object_id)):
            self.message_user(request, "The delivery was queued again.")
        url = admin_url("routing_faileddelivery_changelist")
        # The dialog posts with htmx, which would follow a redirect without changing the page.
        return HttpResponse(headers={"HX-Redirect": url}) if "HX-Request" in request.headers else redirect(url)

    def _replay(self, request: HttpRequest, failed: FailedDelivery) -> bool:
        try:
            replayed = services.replay_delivery(staff_actor(request.user), failed)
        except StoreUnavailable:
            replayed = False
        if not replayed:
            self.message_user(request, "The queue is unavailable or full: nothing was replayed.", messages.ERROR)
        return replayed
