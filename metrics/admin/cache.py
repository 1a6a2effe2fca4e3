"""Cache usage by service, invalidation and flushing."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from metrics import selectors, services
from metrics.admin.readonly import ServiceReadOnlyAdmin
from metrics.audit import staff_actor
from metrics.models import CachedService
from metrics.read_models import ServiceCache
from resilience.outage import StoreUnavailable
from routing.pages.rendering import render
from routing.pages.site import admin_site
from routing.rights import Right
from routing.rights import services as services_of


class TagForm(ActionForm):
    tag = forms.CharField(
        max_length=200,
        required=False,
        label="",
        widget=UnfoldAdminTextInputWidget({"aria-label": _("Tag"), "placeholder": _("Tag to invalidate")}),
    )


@admin.register(CachedService, site=admin_site())
class CachedServiceAdmin(ServiceReadOnlyAdmin):
    service_path = "name"
    operated = frozenset({"invalidate"})
    list_display = ("name", "entries", "size", "hits", "misses", "hit_rate")
    list_display_links = ("name",)
    search_fields = ("name",)
    actions = ("invalidate", "flush")
    action_form = TagForm

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Adds each service's cache usage to its row."""
        names = services_of(request.user, Right.VIEW)
        changelist, usage = super().get_changelist_instance(request), selectors.cache_usage(names)
        if not usage.connected:
            self.message_user(
                request, gettext("The shared store is unavailable: the number of entries is unknown."), messages.WARNING
            )
        for row in changelist.result_list:
            row.usage = usage.by_service.get(row.name, ServiceCache())
        return changelist

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        return redirect("dashboard:service", self.row_or_404(request, object_id, Right.VIEW).name)

    @admin.display(description=_("entries"))
    def entries(self, service: Any) -> int:
        return int(service.usage.entries)

    @admin.display(description=_("size"))
    def size(self, service: Any) -> str:
        return filesizeformat(service.usage.bytes)

    @admin.display(description=_("hits"))
    def hits(self, service: Any) -> int:
        return int(service.usage.hits)

    @admin.display(description=_("misses"))
    def misses(self, service: Any) -> int:
        return int(service.usage.misses)

    @admin.display(description=_("hit rate"))
    def hit_rate(self, service: Any) -> str:
        return f"{service.usage.hit_rate:.2f} %"

    @admin.action(description=_("Invalidate a tag"), permissions=("invalidate",))
    def invalidate(self, request: HttpRequest, queryset: "models.QuerySet[CachedService]") -> None:
        tag = request.POST.get("tag", "").strip()
        if not tag:
            self.message_user(request, gettext("Enter the tag to invalidate next to the action."), messages.ERROR)
            return
        self._invalidate(
            request,
            lambda: sum(services.invalidate(staff_actor(request.user), service.name, tag) for service in queryset),
        )

    @admin.action(description=_("Flush all entries"), permissions=("invalidate",))
    def flush(self, request: HttpRequest, queryset: "models.QuerySet[CachedService]") -> HttpResponse | None:
        """Ask for confirmation, as the dashboard does, then flush."""
        if "confirmed" not in request.POST:
            usage = selectors.cache_usage().by_service
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": _("Flush the cache?"),
                "services": [(row, usage.get(row.name, ServiceCache())) for row in queryset],
            }
            return render(request, "admin/gateway/flush.html", context)
        self._invalidate(
            request, lambda: sum(services.invalidate(staff_actor(request.user), service.name) for service in queryset)
        )
        return None

    def has_invalidate_permission(self, request: HttpRequest) -> bool:
        return self.has_operate_permission(request)

    def _invalidate(self, request: HttpRequest, operation: Callable[[], int]) -> None:
        try:
            self.message_user(request, _deleted_message(operation()))
        except StoreUnavailable:
            self.message_user(
                request, gettext("The shared store is unavailable: nothing was invalidated."), messages.ERROR
            )
        except selectors.ServiceNotConfigured as error:
            self.message_user(
                request,
                gettext("%(service)s is not in the configuration in use yet.") % {"service": error},
                messages.ERROR,
            )


def _deleted_message(number: int) -> str:
    return ngettext("%(number)d entry invalidated.", "%(number)d entries invalidated.", number) % {"number": number}
