"""The admin page for services. A saved change takes effect in every worker within a second."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import action

from routing.admin.fields import HelpTextsMixin
from routing.admin.rights import HiddenColumnsMixin
from routing.admin.routes import changed_text, list_address
from routing.admin.service_form import ServiceForm
from routing.admin.service_settings_admin import ServiceSettingsAdmin
from routing.admin.targets import TargetInline
from routing.database.references import references
from routing.models import Service
from routing.pages.site import admin_site
from routing.rights import Right, may


@admin.register(Service, site=admin_site())
class ServiceAdmin(HiddenColumnsMixin, ServiceSettingsAdmin, HelpTextsMixin, ModelAdmin):
    form = ServiceForm
    service_path = "name"
    hidden_columns = ("headers", "credential")
    list_display = ("name", "enabled", "addresses", "route_count", "auth", "rate_limit")
    list_filter = ("enabled",)
    search_fields = ("name", "targets__url")
    inlines = (TargetInline,)
    actions = ("enable", "disable")
    actions_detail = ("open_routes", "try_route", "open_document")
    sections = ServiceForm.sections
    identity_fields = ("name", "enabled", "preset")
    plain_fieldsets = (
        (None, {"fields": (("name", "enabled"), "preset", "hosts", "labels", "status_page")}),
        (_("Access and limits"), {"fields": ("auth", "scopes", "rate_limit", "max_concurrency")}),
        (
            _("Backend calls"),
            {"fields": ("headers", ("forward_authorization", "preserve_host"), ("websocket", "cost_per_call"))},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Service]:
        services: models.QuerySet[Service] = super().get_queryset(request)
        return services.prefetch_related("targets").annotate(number_of_routes=models.Count("routes", distinct=True))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The name cannot be changed by those with rights for some services, since rights are given by name."""
        own = super().get_readonly_fields(request, obj)
        return own if obj is None or may(request.user, Right.CONFIGURE) else (*own, "name")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A service that others name is protected: without it, the configuration would not be valid."""
        found = super().get_deleted_objects(objs, request)
        return (*found[:3], [*found[3], *references(objs)])

    @admin.display(description=_("targets"))
    def addresses(self, service: Service) -> str:
        return ", ".join(target.url for target in service.targets.all())

    @admin.display(description=_("routes"), ordering="number_of_routes")
    def route_count(self, service: Any) -> SafeString:
        return format_html('<a class="underline" href="{}">{}</a>', list_address(service), service.number_of_routes)

    @action(description=_("Routes"), url_path="routes")
    def open_routes(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Redirect to the list of the service's routes."""
        return redirect(list_address(self.row_or_404(request, object_id, Right.VIEW)))

    @action(description=_("Explain a request"), url_path="try")
    def try_route(self, request: HttpRequest, object_id: int) -> HttpResponse:
        """Redirect to Explain, filled in with the service's first route."""
        service = self.row_or_404(request, object_id, Right.VIEW)
        route = service.routes.first()
        query = (
            {"method": (route.methods or ["GET"])[0], "path": f"/api/v1/{service.name}{route.path}"} if route else {}
        )
        return redirect(f"{reverse('explain-request')}?{urlencode(query or {'path': f'/api/v1/{service.name}/'})}")

    @action(description=_("OpenAPI document"), url_path="document", permissions=("change",))
    def open_document(self, request: HttpRequest, object_id: int) -> HttpResponse:  # noqa: ARG002 - unfold's signature
        """Redirect to the page where the service's OpenAPI document is imported."""
        return redirect("service_document", object_id)

    @admin.action(description=_("Enable"), permissions=("change",))
    def enable(self, request: HttpRequest, queryset: models.QuerySet[Service]) -> None:
        self._set_enabled(request, queryset, enabled=True)

    @admin.action(description=_("Disable: callers receive 503"), permissions=("change",))
    def disable(self, request: HttpRequest, queryset: models.QuerySet[Service]) -> None:
        self._set_enabled(request, queryset, enabled=False)

    def _set_enabled(self, request: HttpRequest, queryset: models.QuerySet[Service], *, enabled: bool) -> None:
        verb = "enabled" if enabled else "disabled"
        changed = [service for service in queryset if service.enabled != enabled]
        for service in changed:
            service.enabled = enabled
            service.save(update_fields=["enabled"])
            self.log_change(request, service, f"{verb.capitalize()}.")
        self.message_user(request, changed_text(len(changed), enabled=enabled))
