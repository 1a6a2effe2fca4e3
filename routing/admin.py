"""The admin's pages for services and API keys. What is saved here is live in every worker a moment later."""

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

from routing.configuration import decode
from routing.configuration.document import inline, parse
from routing.configuration.faults import ConfigurationError
from routing.database.api_keys import issue, revoke
from routing.models import ANY_SECRET, ApiKey, Route, Service, Target, to_validation_error

if TYPE_CHECKING:
    _RouteFormSet = BaseInlineFormSet[Route, Service, ModelForm[Route]]
else:
    _RouteFormSet = BaseInlineFormSet

FORMS: Final = {
    "hosts": "[crm.example.com]: also reached under these names, without the /api/v1/... prefix",
    "scopes": "[reports]: scopes a caller needs, beyond naming the service",
    "rate_limit": "100/m, per caller; empty: the gateway's own",
    "timeout": "{connect: 2s, read: 10s, total: 30s}",
    "max_concurrency": "calls in flight, per worker; empty: 256",
    "retries": "{attempts: 2, budget: 0.2}: attempts includes the first; idempotent methods only",
    "headers": '{Authorization: "env:CRM_TOKEN"}: sent to the backend; a secret belongs in the environment, not here',
    "cache": "{ttl: 300, scope: user, stale_if_error: 300, tags: [contacts]}, or off",
    "breaker": "{failure_threshold: 5, window: 60s, open_for: 60s, success_threshold: 2}",
    "health": "{path: /health, interval: 10s, timeout: 2s, down_after: 3, up_after: 2}: asked by one worker for all",
    "fallback": "{status: 200, body: {items: []}}: answered when the circuit is open and nothing is stale",
    "cost_per_call": "USD; what one avoided call saves",
    "websocket": "pass Upgrade through to the service",
    "canary": "5: serves 5 % of the callers, always the same ones, and nobody else",
    "always_up": "used whatever its calls and health checks say",
    "path": "/mailboxes/{user}/messages, /files/*",
    "methods": "[GET, POST]; empty: any",
    "invalidates": '["mailbox:{user}"]: tags that a successful call empties from the cache',
    "idempotency": "the first answer to an Idempotency-Key on a POST or PATCH is kept for a day and given to repeats",
}
"""How each field is written: the file's own form."""


class SectionField(JSONField):
    """A section as the file writes it, in YAML or JSON."""

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
        """What was typed stays as it was typed; what is stored is written on one line."""
        return value if value is None or isinstance(value, InvalidJSONInput) else inline(value)


class FileForms:
    """Fields as the file writes them, each with an example."""

    unsaid = "the default"
    """What a choice that is not made comes to."""

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any
    ) -> Field | None:
        if isinstance(db_field, models.JSONField):
            options["form_class"] = SectionField
        if db_field.name in FORMS:
            options["help_text"] = FORMS[db_field.name]
        field: Field | None = super().formfield_for_dbfield(db_field, request, **options)  # type: ignore[misc]
        if isinstance(field, NullBooleanField):
            field.widget.choices = [("unknown", self.unsaid), ("true", "yes"), ("false", "no")]
        elif isinstance(field, TypedChoiceField) and not field.required:
            field.choices = [("", self.unsaid), *(db_field.choices or ())]
        return field


class TargetInline(FileForms, TabularInline):
    model = Target
    extra = 0
    min_num = 1

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        return super().get_formset(request, obj, **{**options, "validate_min": True})


class RouteForms(_RouteFormSet):
    """A service's routes together: what none of them shows alone, such as the same route twice."""

    def clean(self) -> None:
        super().clean()
        forms = [form for form in self.forms if form.has_changed() or form.instance.pk]
        forms = [form for form in forms if form not in self.deleted_forms]
        if any(form.errors for form in forms):
            return
        forms.sort(key=lambda form: form.instance.position)
        routes = [form.instance.to_document() for form in forms]
        try:
            decode.service(
                "any", {**self.instance.to_document(), "targets": [{"url": "http://any"}], "routes": routes}, ANY_SECRET
            )
        except ConfigurationError as error:
            for index, form in enumerate(forms):
                faults = [fault for fault in error.faults if fault.path[:2] == ("routes", index)]
                if faults:
                    form.add_error(
                        None, to_validation_error((fault.without_prefix(2) for fault in faults), form.fields)
                    )


class RouteInline(FileForms, StackedInline):
    unsaid = "as the service has it"
    model = Route
    formset = RouteForms
    extra = 0
    fieldsets = (
        (None, {"fields": (("position", "enabled"), ("path", "methods"), ("cache", "invalidates"), "idempotency")}),
        (
            "More",
            {
                "classes": ("collapse",),
                "fields": (
                    ("auth", "scopes", "rate_limit"),
                    ("timeout", "max_concurrency", "retries"),
                    ("headers", "forward_authorization"),
                    ("breaker", "health", "fallback"),
                    ("cost_per_call", "websocket"),
                ),
            },
        ),
    )


@admin.register(Service)
class ServiceAdmin(FileForms, ModelAdmin):
    list_display = ("name", "enabled", "addresses", "auth", "rate_limit")
    list_filter = ("enabled",)
    search_fields = ("name", "targets__url")
    inlines = (TargetInline, RouteInline)
    actions = ("switch_on", "switch_off")
    actions_detail = ("try_route",)
    fieldsets = (
        (None, {"fields": (("name", "enabled"), "hosts")}),
        ("Who may call it, and how often", {"fields": ("auth", "scopes", "rate_limit", "max_concurrency")}),
        ("How it is called", {"fields": ("timeout", "retries", "headers", "forward_authorization", "websocket")}),
        ("Cache and circuit", {"fields": ("cache", "breaker", "health", "fallback", "cost_per_call")}),
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Service]:
        return super().get_queryset(request).prefetch_related("targets")  # type: ignore[no-any-return]

    @admin.display(description="targets")
    def addresses(self, service: Service) -> str:
        return ", ".join(target.url for target in service.targets.all())

    @action(description="Try a route", url_path="try")
    def try_route(self, request: HttpRequest, object_id: int) -> HttpResponse:  # noqa: ARG002 - unfold's signature
        """The page that explains what becomes of a request to this service."""
        service = get_object_or_404(Service, pk=object_id)
        route = service.routes.first()
        query = (
            {"method": (route.methods or ["GET"])[0], "path": f"/api/v1/{service.name}{route.path}"} if route else {}
        )
        return redirect(f"{reverse('explain')}?{urlencode(query or {'path': f'/api/v1/{service.name}/'})}")

    @admin.action(description="Switch on", permissions=("change",))
    def switch_on(self, request: HttpRequest, queryset: models.QuerySet[Service]) -> None:
        self._switch(request, queryset, on=True)

    @admin.action(description="Switch off: callers get 503", permissions=("change",))
    def switch_off(self, request: HttpRequest, queryset: models.QuerySet[Service]) -> None:
        self._switch(request, queryset, on=False)

    def _switch(self, request: HttpRequest, queryset: models.QuerySet[Service], *, on: bool) -> None:
        switched = [service for service in queryset if service.enabled != on]
        for service in switched:
            service.enabled = on
            service.save(update_fields=["enabled"])
            self.log_change(request, service, f"Switched {'on' if on else 'off'}.")
        self.message_user(request, f"{len(switched)} switched {'on' if on else 'off'}.")


@admin.register(Target)
class TargetAdmin(ModelAdmin):
    """Every service's targets, and the operator's word on them, which wins over checks and failures."""

    list_display = ("url", "service", "weight", "canary", "word")
    list_display_links = None
    list_select_related = ("service",)
    search_fields = ("url", "service__name")
    actions = ("take_down", "keep_up", "leave_alone")

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Targets come and go with their services, which need one."""
        offered: dict[str, Any] = super().get_actions(request)
        return {name: action for name, action in offered.items() if name != "delete_selected"}

    @admin.display(description="operator's word")
    def word(self, target: Target) -> str:
        if not target.enabled:
            return "down"
        return "up" if target.always_up else ""

    @admin.action(description="Down: no call goes there", permissions=("change",))
    def take_down(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._say(request, queryset, enabled=False, always_up=False)

    @admin.action(description="Up: used whatever its calls and health checks say", permissions=("change",))
    def keep_up(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._say(request, queryset, enabled=True, always_up=True)

    @admin.action(description="Neither: as its calls and health checks say", permissions=("change",))
    def leave_alone(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._say(request, queryset, enabled=True, always_up=False)

    def _say(self, request: HttpRequest, queryset: models.QuerySet[Target], *, enabled: bool, always_up: bool) -> None:
        changed = [target for target in queryset if (target.enabled, target.always_up) != (enabled, always_up)]
        for target in changed:
            target.enabled, target.always_up = enabled, always_up
            target.save(update_fields=["enabled", "always_up"])
            self.log_change(request, target, f"The operator's word: {self.word(target) or 'none'}.")
        self.message_user(request, f"{len(changed)} changed.")


@admin.register(ApiKey)
class ApiKeyAdmin(FileForms, ModelAdmin):
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
            messages.warning(request, f"The key of {obj.name}, shown this once: {issue(obj)}")

    @admin.action(description="Revoke", permissions=("change",))
    def revoke_keys(self, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
        ending = list(queryset.filter(revoked_at=None))
        revoke(ending)
        for key in ending:
            self.log_change(request, key, "Revoked.")
        self.message_user(request, f"{len(ending)} revoked.")
