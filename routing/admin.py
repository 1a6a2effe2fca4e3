"""The admin pages for services, targets and API keys. A saved change takes effect in every worker within a second."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.forms import BaseInlineFormSet, Field, JSONField, ModelForm, NullBooleanField, TypedChoiceField
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from unfold.admin import ModelAdmin, StackedInline, TabularInline
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget

from routing.admin_rights import RightsMixin
from routing.configuration.decode import decode_service
from routing.configuration.document import inline, parse
from routing.configuration.faults import ConfigurationError
from routing.database.api_keys import issue, revoke
from routing.key_form import KeyForm
from routing.models import ANY_SECRET, ApiKey, Route, Service, Target, to_validation_error
from routing.settings_form import ReadOnlySettingsForm, SettingsForm

if TYPE_CHECKING:
    _BaseRouteFormSet = BaseInlineFormSet[Route, Service, ModelForm[Route]]
else:
    _BaseRouteFormSet = BaseInlineFormSet

HELP_TEXTS: Final = {
    "hosts": "[crm.example.com]: host names that reach the service without the /api/v1/<service> prefix",
    "paths": "{encoded_slash: pass, empty_segments: refuse, case_sensitive: true, trailing_slash: same}: "
    "how the service reads paths",
    "scopes": "[reports]: scopes that a caller needs in addition to the service's name",
    "rate_limit": "100/m, per caller; empty: the gateway's default",
    "timeout": "{connect: 2s, read: 10s, total: 30s}",
    "max_concurrency": "calls in flight, per worker; empty: 256",
    "retries": "{attempts: 2, budget: 0.2}: attempts includes the first call; idempotent methods only",
    "headers": '{Authorization: "env:GATEWAY_SECRET_CRM", X-Api-Key: "file:/run/secrets/crm"}: sent to the backend; '
    "secrets are variables or files, not values",
    "cache": "{ttl: 300, scope: user, stale_if_error: 300, tags: [contacts]}, or off",
    "breaker": "{failure_threshold: 5, window: 60s, open_for: 60s, success_threshold: 2}",
    "health": "{path: /health, interval: 10s, timeout: 2s, down_after: 3, up_after: 2}: one worker checks for all",
    "fallback": "{status: 200, body: {items: []}}: returned when the circuit is open and there is no stale response; "
    "{service: crm-replica}: sent the same request when this service fails",
    "cost_per_call": "USD saved by each avoided call",
    "preserve_host": "send the client's Host to the backend instead of the target's",
    "cors": "{origins: [https://*.example.com], credentials: false}, or off; empty: CORS_ORIGINS, without cookies",
    "websocket": "pass WebSocket upgrades to the service",
    "canary": "5: receives the requests of 5 % of the callers, always the same ones, and no others",
    "always_up": "used regardless of failures and health checks",
    "path": "/mailboxes/{user}/messages, /files/*",
    "methods": "[GET, POST]; empty: any",
    "invalidates": '["mailbox:{user}"]: cache tags that a successful call invalidates',
    "idempotency": "keep the first response to a POST or PATCH with an Idempotency-Key for a day; return it to retries",
}
"""Help texts by field, each with an example in the configuration file's syntax."""


class SectionField(JSONField):
    """A form field for a section, written in YAML or JSON as in the configuration file."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "widget": UnfoldAdminTextareaWidget(attrs={"rows": 2})})

    def to_python(self, value: Any) -> Any:
        if value in self.empty_values or not isinstance(value, str):
            return None if value in self.empty_values else value
        try:
            return parse(value).structure
        except ConfigurationError as error:
            raise ValidationError([str(fault) for fault in error.faults]) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        return initial if self.disabled else InvalidJSONInput(data or "")

    def prepare_value(self, value: Any) -> Any:
        """Redisplay invalid input unchanged; show a stored value on one line."""
        return value if value is None or isinstance(value, InvalidJSONInput) else inline(value)


class FileSyntaxMixin:
    """Form fields in the configuration file's syntax, with help texts."""

    empty_label = "default"
    """The label of the choice for an unset field."""

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any
    ) -> Field | None:
        if isinstance(db_field, models.JSONField):
            options["form_class"] = SectionField
        if db_field.name in HELP_TEXTS:
            options["help_text"] = HELP_TEXTS[db_field.name]
        field: Field | None = super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc]
        if isinstance(field, NullBooleanField):
            field.widget.choices = [("unknown", self.empty_label), ("true", "yes"), ("false", "no")]
        elif isinstance(field, TypedChoiceField) and not field.required:
            field.choices = [("", self.empty_label), *(db_field.choices or ())]
        return field


class TargetInline(RightsMixin, FileSyntaxMixin, TabularInline):
    model = Target
    extra = 0
    min_num = 1

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        return super().get_formset(request, obj, **{**options, "validate_min": True})


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
                    ("auth", "scopes", "rate_limit"),
                    ("timeout", "max_concurrency", "retries"),
                    ("headers", "forward_authorization", "preserve_host"),
                    ("breaker", "health", "fallback"),
                    ("cost_per_call", "websocket"),
                    "cors",
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
    actions_detail = ("try_route",)
    fieldsets = (
        (None, {"fields": (("name", "enabled"), "hosts", "paths")}),
        ("Access and limits", {"fields": ("auth", "scopes", "rate_limit", "max_concurrency", "cors")}),
        (
            "Backend calls",
            {"fields": ("timeout", "retries", "headers", "forward_authorization", "preserve_host", "websocket")},
        ),
        ("Cache and circuit breaker", {"fields": ("cache", "breaker", "health", "fallback", "cost_per_call")}),
    )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse lookups of headers in the address, which would tell a viewer whether a guess at a secret is right."""
        return not lookup.startswith("headers") and bool(super().lookup_allowed(lookup, value, request))

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Service]:
        return super().get_queryset(request).prefetch_related("targets")  # type: ignore[no-any-return]

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


@admin.register(ApiKey)
class ApiKeyAdmin(RightsMixin, FileSyntaxMixin, ModelAdmin):
    form = KeyForm
    list_display = ("name", "prefix", "state", "tenant", "created_at", "expires_at")
    search_fields = ("name", "prefix")
    fields = ("name", "prefix", "scopes", "tenant", "expires_at", "revoked_at")
    readonly_fields = ("prefix", "revoked_at")
    actions = ("revoke_keys",)

    @admin.display(description="state")
    def state(self, key: ApiKey) -> str:
        return key.state(timezone.now())

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            messages.warning(request, f"The key of {obj.name}, shown only this once: {issue(obj)}")

    @admin.action(description="Revoke", permissions=("change",))
    def revoke_keys(self, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
        active = list(queryset.filter(revoked_at=None))
        revoke(active)
        for key in active:
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"{len(active)} revoked.")
