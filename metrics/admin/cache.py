"""What the cache has of each service, and taking it back."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.defaultfilters import filesizeformat
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from metrics import selectors, services
from metrics.admin.readonly import ReadOnlyAdmin, actor
from metrics.models import CachedService
from metrics.read_models import ServiceCache
from resilience.outage import StoreUnavailable


class TagForm(ActionForm):
    tag = forms.CharField(
        max_length=200,
        required=False,
        label="",
        widget=UnfoldAdminTextInputWidget({"aria-label": "Tag", "placeholder": "Tag: to invalidate one"}),
    )


@admin.register(CachedService)
class CachedServiceAdmin(ReadOnlyAdmin):
    list_display = ("name", "entries", "size", "hits", "misses", "hit_rate")
    list_display_links = ("name",)
    search_fields = ("name",)
    actions = ("invalidate", "flush")
    action_form = TagForm

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The list, each row with what is cached of it."""
        listed, usage = super().get_changelist_instance(request), selectors.cache_usage()
        if not usage.connected:
            self.message_user(request, "The shared store does not answer: entries are not known.", messages.WARNING)
        for row in listed.result_list:
            row.reading = usage.by_service.get(row.name, ServiceCache())
        return listed

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:  # noqa: ARG002
        return redirect("dashboard:service", get_object_or_404(CachedService, pk=object_id).name)

    @admin.display(description="entries")
    def entries(self, service: Any) -> int:
        return int(service.reading.entries)

    @admin.display(description="size")
    def size(self, service: Any) -> str:
        return filesizeformat(service.reading.bytes)

    @admin.display(description="hits")
    def hits(self, service: Any) -> int:
        return int(service.reading.hits)

    @admin.display(description="misses")
    def misses(self, service: Any) -> int:
        return int(service.reading.misses)

    @admin.display(description="hit rate")
    def hit_rate(self, service: Any) -> str:
        return f"{service.reading.hit_rate:.2f} %"

    @admin.action(description="Invalidate the tag", permissions=("purge",))
    def invalidate(self, request: HttpRequest, queryset: "models.QuerySet[CachedService]") -> None:
        tag = request.POST.get("tag", "").strip()
        if not tag:
            self.message_user(request, "Which tag? Write it beside the action.", messages.ERROR)
            return
        self._purge(request, lambda: sum(services.invalidate(actor(request), each.name, tag) for each in queryset))

    @admin.action(description="Flush: all entries of the service", permissions=("purge",))
    def flush(self, request: HttpRequest, queryset: "models.QuerySet[CachedService]") -> None:
        self._purge(request, lambda: sum(services.invalidate(actor(request), each.name) for each in queryset))

    def has_purge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("metrics.change_cachedservice")

    def _purge(self, request: HttpRequest, purge: Callable[[], int]) -> None:
        try:
            self.message_user(request, f"{purge()} entries went.")
        except StoreUnavailable:
            self.message_user(request, "The shared store does not answer: nothing went.", messages.ERROR)
        except selectors.ServiceNotConfigured as error:
            self.message_user(request, f"{error} is not being served yet.", messages.ERROR)
