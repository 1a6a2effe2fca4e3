"""The admin pages for targets: on their service's page, and all of them with the operator's override."""

from typing import Any, Final

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline

from routing.admin.fields import HelpTextsMixin
from routing.admin.rights import RightsMixin, ServiceRightsMixin
from routing.admin.target_form import TargetForm
from routing.models import Service, Target
from routing.pages.site import admin_site
from routing.rights import Right, is_any, services, within

_OVERRIDES: Final = {"": "", "down": _("down"), "up": _("up")}


class TargetInline(RightsMixin, HelpTextsMixin, TabularInline):
    """For those who may view or change the service. Without one, Django asks whether there may be rows at all."""

    model = Target
    form = TargetForm
    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _permits(request, Right.VIEW, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _permits(request, Right.CONFIGURE, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        """At least one target, unless a preset has targets."""
        has_preset = bool(request.POST.get("preset")) if request.method == "POST" else bool(obj and obj.preset)
        options |= {"min_num": 0 if has_preset else 1, "validate_min": True}
        return super().get_formset(request, obj, **options)


@admin.register(Target, site=admin_site())
class TargetAdmin(ServiceRightsMixin, ModelAdmin):
    """All services' targets, and the operator's override, which takes precedence over failures and health checks."""

    form = TargetForm
    service_path = "service__name"
    list_display: tuple[str, ...] = ("url", "service", "weight", "canary", "override")
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

    @admin.display(description=_("override"))
    def override(self, target: Target) -> str:
        return str(_OVERRIDES[_override(target)])

    @admin.action(description=_("Mark down: receives no calls"), permissions=("change",))
    def mark_down(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._set_override(request, queryset, enabled=False, always_up=False)

    @admin.action(description=_("Mark up: used regardless of failures and health checks"), permissions=("change",))
    def mark_up(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._set_override(request, queryset, enabled=True, always_up=True)

    @admin.action(description=_("Clear override: failures and health checks decide"), permissions=("change",))
    def clear_override(self, request: HttpRequest, queryset: models.QuerySet[Target]) -> None:
        self._set_override(request, queryset, enabled=True, always_up=False)

    def _set_override(
        self, request: HttpRequest, queryset: models.QuerySet[Target], *, enabled: bool, always_up: bool
    ) -> None:
        changed = [target for target in queryset if (target.enabled, target.always_up) != (enabled, always_up)]
        for target in changed:
            target.enabled, target.always_up = enabled, always_up
            target.save(update_fields=["enabled", "always_up"])
            self.log_change(request, target, f"Override: {_override(target) or 'none'}.")
        self.message_user(request, gettext("%(number)d changed.") % {"number": len(changed)})


def _override(target: Target) -> str:
    if not target.enabled:
        return "down"
    return "up" if target.always_up else ""


def _permits(request: HttpRequest, right: Right, service: Service | None) -> bool:
    names = services(request.user, right)
    return is_any(names) if service is None else within(service.name, names)
