"""Webhooks, and their deliveries whose work has failed."""

import contextlib
from typing import Any, Final

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action
from unfold.forms import BaseDialogForm

from metrics import services
from metrics.admin.dialogs import leave_dialog
from metrics.admin.readonly import ServiceReadOnlyAdmin
from metrics.audit import staff_actor
from resilience.outage import StoreUnavailable
from routing.admin.mapping_forms import WebhookForm
from routing.admin.rights import HiddenColumnsMixin
from routing.admin.settings_admin import SettingsAdmin
from routing.configuration import webhooks
from routing.models import FailedDelivery, Webhook
from routing.pages.site import admin_site
from routing.presets.expand import expand_webhook
from routing.rights import Names, Right
from routing.webhooks.delivery import decode

SHOWN_BYTES: Final = 64 * 1_024
"""The most of a delivery's body that its page shows."""


@admin.register(Webhook, site=admin_site())
class WebhookAdmin(HiddenColumnsMixin, SettingsAdmin, ModelAdmin):
    form = WebhookForm
    hidden_columns = ("settings",)
    list_display = ("name", "enabled", "verify", "service", "address")
    list_filter = ("enabled",)
    search_fields = ("name",)
    sections = WebhookForm.sections
    identity_fields = ("name", "enabled")
    plain_fieldsets = (
        (None, {"fields": (("name", "enabled"), "preset")}),
        (
            _("Verification of deliveries"),
            {
                "fields": (
                    ("verify", "secret"),
                    ("header", "prefix"),
                    ("algorithm", "encoding"),
                    ("timestamp_header", "template"),
                    ("audience", "email"),
                    "keys_url",
                )
            },
        ),
        (_("Work"), {"fields": ("service", "invalidates", ("id", "attempts"))}),
    )

    @admin.display(description=_("verify"))
    def verify(self, webhook: Webhook) -> str:
        return str(expand_webhook(webhook.settings).get("verify", ""))

    @admin.display(description=_("service"))
    def service(self, webhook: Webhook) -> str:
        return str(webhook.settings.get("service", ""))

    @admin.display(description=_("address"))
    def address(self, webhook: Webhook) -> str:
        return f"/hooks/{webhook.name}"


@admin.register(FailedDelivery, site=admin_site())
class FailedDeliveryAdmin(ServiceReadOnlyAdmin):
    """For those who may operate the services of a webhook: deliveries contain the provider's data."""

    viewing = Right.OPERATE

    list_display = ("webhook", "failed_at", "received_at", "tries", "error", "stored_size")
    list_filter = ("webhook",)
    search_fields = ("webhook", "error")
    actions = ("replay", "dismiss")
    actions_row = ("replay_row",)
    fields = ("webhook", "failed_at", "received_at", "tries", "error", "stored_size", "done", "body")
    readonly_fields = fields

    def limited(self, rows: Any, names: Names) -> Any:
        """Those of webhooks that are for these services and for no other."""
        if names is None:
            return rows
        found = ((webhook.name, webhooks.named_services(webhook.settings)) for webhook in Webhook.objects.all())
        return rows.filter(webhook__in=[name for name, of in found if of and of <= names])

    @admin.display(description=_("size"), ordering="size")
    def stored_size(self, failed: FailedDelivery) -> str:
        return filesizeformat(failed.size)

    @admin.display(description=_("done"))
    def done(self, failed: FailedDelivery) -> str:
        return ", ".join(decode(bytes(failed.data)).done) or gettext("nothing")

    @admin.display(description=_("body"))
    def body(self, failed: FailedDelivery) -> str:
        return decode(bytes(failed.data)).body[:SHOWN_BYTES].decode("utf-8", "replace")

    @admin.action(description=_("Replay"), permissions=("operate",))
    def replay(self, request: HttpRequest, queryset: "models.QuerySet[FailedDelivery]") -> None:
        replayed = 0
        for failed in queryset:
            is_queued = self._replay(request, failed)
            if is_queued is None:  # there is no room for the others either, and each would wait for it
                break
            replayed += is_queued
        self.message_user(request, gettext("%(number)d replayed.") % {"number": replayed})

    @admin.action(description=_("Dismiss: the work is not done"), permissions=("operate",))
    def dismiss(self, request: HttpRequest, queryset: "models.QuerySet[FailedDelivery]") -> None:
        dismissed = 0
        for failed in queryset:
            with contextlib.suppress(FailedDelivery.DoesNotExist):  # somebody else was faster
                services.dismiss_delivery(staff_actor(request.user), failed)
                dismissed += 1
        self.message_user(request, gettext("%(number)d dismissed.") % {"number": dismissed})

    @action(
        description=_("Replay"),
        url_path="replay",
        icon="replay",
        permissions=("operate",),
        dialog={
            "title": _("Replay the delivery"),
            "description": _("The parts of its work that are not done are tried again."),
            "form_class": BaseDialogForm,
            "form_submit_text": _("Replay"),
        },
    )
    def replay_row(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:  # noqa: ARG002 - Unfold's signature
        """Called for the POST of the dialog's form only; Unfold handles the GET."""
        if self._replay(request, self.row_or_404(request, object_id, Right.OPERATE)):
            self.message_user(request, gettext("The delivery was queued again."))
        return leave_dialog(request, "routing_faileddelivery_changelist")

    def _replay(self, request: HttpRequest, failed: FailedDelivery) -> bool | None:
        """Whether it was queued again; None if the queue takes nothing now. Says why it was not."""
        try:
            if services.replay_delivery(staff_actor(request.user), failed):
                return True
        except FailedDelivery.DoesNotExist:
            text = gettext("Somebody else has replayed or dismissed the delivery of %(webhook)s.")
            self.message_user(request, text % {"webhook": failed.webhook}, messages.WARNING)
            return False
        except StoreUnavailable:
            pass
        text = gettext("The queue is unavailable or full: what is still listed was not replayed.")
        self.message_user(request, text, messages.ERROR)
        return None
