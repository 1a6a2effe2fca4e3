"""The admin pages for services and targets. A saved change takes effect in every worker within a second."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.db import models
from django.forms import BaseInlineFormSet, ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin, StackedInline, TabularInline
from unfold.decorators import action

from routing.admin.fields import FileSyntaxMixin
from routing.admin.rights import RightsMixin
from routing.admin.settings_form import ReadOnlySettingsForm, SettingsForm
from routing.configuration.decode import decode_service
from routing.configuration.faults import ConfigurationError
from routing.database.references import references
from routing.models import ANY_SECRET, Route, Service, Target
from routing.models.faults import to_validation_error

if TYPE_CHECKING:
    _BaseRouteFormSet = BaseInlineFormSet[Route, Service, ModelForm[Route]]
else:
    _BaseRouteFormSet = BaseInlineFormSet

BACKEND: Final = ("timeout", "retries", "headers", "credential", "identity", "forward_authorization")


class TargetInline(RightsMixin, FileSyntaxMixin, TabularInline):
    model = Target
    extra = 0

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        """At least one target, unless a preset has targets."""
        has_preset = bool(request.POST.get("preset")) if request.method == "POST" else bool(obj and obj.preset)
        options |= {"min_num": 0 if has_preset else 1, "validate_min": True}
        return super().get_formset(request, obj, **options)


class RouteFormSet(_BaseRouteFormSet):
    """Validates a service's routes together, for faults such as duplicate routes."""

    def clean(self) -> None:
        super().clean()
        forms = [form for form in self.forms if form.has_changed() or form.instance.pk]
        forms = [form for form in forms if form not in self.deleted_forms]
        if any(form.errors for form in forms):
            return
        forms.sort(key=lambda form: form.instance.position)
        routes = [form.instance.to_document() for form in forms]
        service = {**self.instance.to_document(), "targets": [{"url": "http://any"}], "routes": routes}
        found = list(self.instance.fallback_faults(service))
        try:
            decode_service("any", service, ANY_SECRET)
        except ConfigurationError as error:
            found += error.faults
        for index, form in enumerate(forms):
            faults = [fault for fault in found if fault.path[:2] == ("routes", index)]
            if faults:
                form.add_error(None, to_validation_error((fault.without_prefix(2) for fault in faults), form.fields))


class RouteInline(RightsMixin, FileSyntaxMixin, StackedInline):
    empty_label = "inherited from the service"
    model = Route
    formset = RouteFormSet
    extra = 0

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        form = SettingsForm if self.has_change_permission(request, obj) else ReadOnlySettingsForm
        return super().get_formset(request, obj, **{"form": form, **options})

    fieldsets = (
        (None, {"fields": (("position", "enabled"), ("path", "methods"), ("cache", "invalidates"), "idempotency")}),
        (
            "More",
            {
                "classes": ("collapse",),
                "fields": (
                    ("auth", "scopes", "ip", "rate_limit"),
                    ("timeout", "max_concurrency", "retries"),
                    ("headers", "forward_authorization", "preserve_host"),
                    ("breaker", "health", "fallback"),
                    ("outcome", "hold_off", "outbound"),
                    ("cost_per_call", "price", "websocket"),
                    ("cors", "credential", "identity", "signature"),
                    "request_log",
                ),
            },
        ),
    )


@admin.register(Service)
class ServiceAdmin(RightsMixin, FileSyntaxMixin, ModelAdmin):
    form = SettingsForm
    list_display = ("name", "enabled", "addresses", "auth", "rate_limit")
    list_filter = ("enabled",)
    search_fields = ("name", "targets__url")
    inlines = (TargetInline, RouteInline)
    actions = ("enable", "disable")
    actions_detail = ("try_route", "open_document")
    fieldsets = (
        (None, {"fields": (("name", "enabled"), "preset", "hosts", "paths")}),
        (
            "Access and limits",
            {"fields": ("auth", "scopes", "ip", "rate_limit", "max_concurrency", "cors", "signature")},
        ),
        (
            "Backend calls",
            {"fields": (*BACKEND, "preserve_host", "websocket")},
        ),
        ("The backend's limits", {"fields": ("outcome", "hold_off", "outbound")}),
        ("Incidents", {"fields": ("thresholds",)}),
        ("Cache and circuit breaker", {"fields": ("cache", "breaker", "health", "fallback", "cost_per_call", "price")}),
        ("Request log", {"fields": ("request_log",)}),
    )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse lookups of secrets in the address, which would tell a viewer whether a guess at one is right."""
        return not lookup.startswith(("headers", "credential")) and bool(super().lookup_allowed(lookup, value, request))

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Service]:
        services: models.QuerySet[Service] = super().get_queryset(request)
        return services.prefetch_related("targets")

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A service that others name is protected: without it, the configuration would not be valid."""
        found = super().get_deleted_objects(objs, request)
        return (*found[:3], [*found[3], *references(objs)])

    @admin.display(description="targets")
    def addresses(self, service: Service) -> str:
        return ", ".join(target.url for target in service.targets.all())

    @action(description="Explain a request", url_path="try")
    def try_route(self, request: HttpRequest, object_id: int) -> HttpResponse:  # noqa: ARG002 - unfold's signature
        """Redirect to Explain, filled in with the service's first route."""
        service = get_object_or_404(Service, pk=object_id)
        route = service.routes.first()
        query = (
            {"method": (route.methods or ["GET"])[0], "path": f"/api/v1/{service.name}{route.path}"} if route else {}
        )
        return redirect(f"{reverse('explain')}?{urlencode(query or {'path': f'/api/v1/{service.name}/'})}")

    @action(description="OpenAPI document", url_path="document", permissions=("change",))
    def open_document(self, request: HttpRequest, object_id: int) -> HttpResponse:  # noqa: ARG002 - unfold's signature
        """Redirect to the page where the service's OpenAPI document is imported."""
        return redirect("service_document", object_id)

    @admin.action(description="Enable", permissions=("change",))
    def enable(self, request: HttpRequest, queryset: models.QuerySet[Service]) -> None:
        self._set_enabled(request, queryset, enabled=True)

    @admin.action(description="Disable: callers receive 503", permissions=("change",))
    def disable(self, request: HttpRequest, queryset: models.QuerySet[Service]) -> None:
        self._set_enabled(request, queryset, enabled=False)

    def _set_enabled(self, request: HttpRequest, queryset: models.QuerySet[Service], *, enabled: bool) -> None:
        verb = "enabled" if enabled else "disabled"
        changed = [service for service in queryset if service.enabled != enabled]
        for service in changed:
            service.enabled = enabled
            service.save(update_fields=["enabled"])
            self.log_change(request, service, f"{verb.capitalize()}.")
        self.message_user(request, f"{len(changed)} {verb}.")


@admin.register(Target)
class TargetAdmin(RightsMixin, ModelAdmin):
    """All services' targets, and the operator's override, which takes precedence over failures and health checks."""

    list_display = ("url", "service", "weight", "canary", "override")
    list_display_links = None
    list_select_related = ("service",)
    search_fields = ("url", "service__name")
    actions = ("mark_down", "mark_up", "clear_override")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Targets are deleted on their service's page, which requires at least one."""
        actions: dict[str, Any] = super().get_actions(request)
        return {name: action for name, action in actions.items() if name != "delete_selected"}

    @admin.display(description="override")
    def override(self, target: Target) -> str:
        if not target.enabled:
            return "down"
        return "up" if target.always_up else ""

    @admin.action(description="Mark down: receives no calls", permissions=("change",))
    def mark_down(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._set_override(request, queryset, enabled=False, always_up=False)

    @admin.action(description="Mark up: used regardless of failures and health checks", permissions=("change",))
    def mark_up(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._set_override(request, queryset, enabled=True, always_up=True)

    @admin.action(description="Clear override: failures and health checks decide", permissions=("change",))
    def clear_override(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._set_override(request, queryset, enabled=True, always_up=False)

    def _set_override(
        self, request: HttpRequest, queryset: models.QuerySet[Target], *, enabled: bool, always_up: bool
    ) -> None:
        changed = [target for target in queryset if (target.enabled, target.always_up) != (enabled, always_up)]
        for target in changed:
            target.enabled, target.always_up = enabled, always_up
            target.save(update_fields=["enabled", "always_up"])
            self.log_change(request, target, f"Override: {self.override(target) or 'none'}.")
        self.message_user(request, f"{len(changed)} changed.")
