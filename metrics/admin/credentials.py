"""The credentials of services at their backends: their state, without any secret, and dropping their tokens."""

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from metrics import credentials, selectors
from metrics.admin.readonly import ServiceReadOnlyAdmin
from metrics.audit import staff_actor
from resilience.outage import StoreUnavailable
from routing.admin.rights import HiddenColumnsMixin
from routing.models import BackendCredential
from routing.pages.names import with_name
from routing.pages.site import admin_site


@admin.register(BackendCredential, site=admin_site())
class BackendCredentialAdmin(HiddenColumnsMixin, ServiceReadOnlyAdmin):
    service_path = "service"
    operated = frozenset({"forget"})
    hidden_columns = ("refresh_token",)
    list_display = ("service", "subject", "state", "account", "fresh_until", "failure", "updated_at")
    list_filter = ("service",)
    search_fields = ("service", "subject", "account")
    actions = ("forget",)
    fields = ("service", "subject", "account", "connected_at", "fresh_until", "failure", "updated_at")
    readonly_fields = fields

    @display(description=_("state"), label={"fresh": "success", "failed": "danger", "expired": "warning"})
    def state(self, credential: BackendCredential) -> tuple[str, str]:
        return with_name(credentials.credential_state(credential, timezone.now()))

    @admin.action(description=_("Forget token: the next request obtains another"), permissions=("forget",))
    def forget(self, request: HttpRequest, queryset: "models.QuerySet[BackendCredential]") -> None:
        done = 0
        for row in queryset:
            try:
                credentials.forget(staff_actor(request.user), row.service, row.subject)
                done += 1
            except selectors.ServiceNotConfigured:
                self.message_user(
                    request,
                    gettext("%(service)s is not configured any more.") % {"service": row.service},
                    messages.ERROR,
                )
            except StoreUnavailable:
                self.message_user(
                    request, gettext("Redis is unavailable: only this worker has forgotten."), messages.ERROR
                )
        self.message_user(request, gettext("Tokens forgotten: %(number)d.") % {"number": done})

    def has_forget_permission(self, request: HttpRequest) -> bool:
        return self.has_operate_permission(request)

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).defer("refresh_token")
