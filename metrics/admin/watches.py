"""The watches of webhooks at Gmail and Calendar: when each ends, what failed, and renewing them at once."""

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.timesince import timeuntil
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from metrics import services
from metrics.admin.readonly import ServiceReadOnlyAdmin
from metrics.audit import staff_actor
from routing.models import Watch
from routing.pages.names import with_name
from routing.pages.site import admin_site
from routing.watches.database import record_of


@admin.register(Watch, site=admin_site())
class WatchAdmin(ServiceReadOnlyAdmin):
    service_path = "service"
    list_display = ("webhook", "subject", "resource", "state", "left", "expires_at", "due_at", "failure")
    list_filter = ("webhook", "service")
    search_fields = ("webhook", "subject", "resource", "failure")
    actions = ("renew",)
    fields = (
        *("webhook", "service", "subject", "resource", "state_name", "channel", "resource_uri", "expires_at", "left"),
        *("renewed_at", "due_at", "failure", "detail", "failures", "failed_at"),
    )
    readonly_fields = fields

    @display(
        description=_("state"),
        label={"active": "success", "failing": "warning", "ended": "danger", "pending": "info", "renewing": "info"},
    )
    def state(self, watch: Watch) -> tuple[str, str]:
        now = timezone.now()
        return with_name("renewing" if watch.is_claimed(now) else record_of(watch).state(now.timestamp()).value)

    @admin.display(description=_("state"))
    def state_name(self, watch: Watch) -> str:
        return str(self.state(watch)[1])

    @admin.display(description=_("left"), ordering="expires_at")
    def left(self, watch: Watch) -> str:
        if watch.expires_at is None:
            return "\u2013"
        return timeuntil(watch.expires_at) if watch.expires_at > timezone.now() else gettext("ended")

    @admin.action(description=_("Renew now"), permissions=("operate",))
    def renew(self, request: HttpRequest, queryset: "models.QuerySet[Watch]") -> None:
        count = services.renew_watches(staff_actor(request.user), list(queryset))
        self.message_user(
            request, gettext("%(number)d watches are renewed by the next free worker.") % {"number": count}
        )
