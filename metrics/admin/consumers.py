"""Plans, teams and consumers. A saved change takes effect in every worker within a second."""

from typing import Any, Final

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from metrics import quotas
from metrics.audit import staff_actor
from resilience.outage import StoreUnavailable
from routing.admin.fields import FileSyntaxMixin
from routing.admin.keys import ApiKeyAdmin
from routing.admin.rights import RightsMixin
from routing.errors import UnknownConsumer
from routing.models import ApiKey, Consumer, ConsumerIdentity, Plan, Team
from routing.pages.site import admin_site

LIMITS: Final = ("Limits", {"fields": (("rate", "burst"), "quota", "concurrency")})


class LimitAdmin(RightsMixin, FileSyntaxMixin, ModelAdmin):
    """What the pages of plans, teams and consumers have in common. Those that are in use cannot be deleted."""

    search_fields: tuple[str, ...] = ("name",)


@admin.register(Plan, site=admin_site())
class PlanAdmin(LimitAdmin):
    list_display = ("name", "rate", "burst", "quota", "concurrency", "consumers", "offered")
    fieldsets = ((None, {"fields": ("name", "services", "ip", ("price", "offered"))}), LIMITS)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Plan]:
        plans: models.QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(consumer_count=models.Count("consumer"))

    @admin.display(description="consumers")
    def consumers(self, plan: Plan) -> int:
        return getattr(plan, "consumer_count", 0)


@admin.register(Team, site=admin_site())
class TeamAdmin(LimitAdmin):
    list_display = ("name", "plan", "rate", "quota")
    list_select_related = ("plan",)
    fieldsets = ((None, {"fields": ("name", "plan", "signed_up")}), LIMITS)


class IdentityInline(RightsMixin, TabularInline):
    model = ConsumerIdentity
    extra = 0


@admin.register(Consumer, site=admin_site())
class ConsumerAdmin(LimitAdmin):
    list_display = ("name", "enabled", "team", "plan", "created_at")
    list_filter = ("enabled", "plan")
    list_select_related = ("team", "plan")
    search_fields = ("name", "identities__subject", "keys__prefix")
    autocomplete_fields = ("team", "plan")
    inlines = (IdentityInline,)
    fieldsets = ((None, {"fields": (("name", "enabled"), ("team", "plan"), "signed_up")}), LIMITS)
    show_full_result_count = False
    actions = ("reset_quotas",)

    @admin.action(description="Reset quotas", permissions=("operate",))
    def reset_quotas(self, request: HttpRequest, queryset: models.QuerySet[Consumer]) -> None:
        """The consumers' own and their plans' quotas; a team's is of all its consumers."""
        _reset(self, request, [consumer.name for consumer in queryset])

    def formfield_for_dbfield(self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "enabled":
            options["help_text"] = "otherwise its keys and tokens are refused"
        return super().formfield_for_dbfield(db_field, request, **options)


@admin.action(description="Reset own quotas", permissions=("operate",))
def reset_own_quotas(page: ModelAdmin, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
    """Those that keys have themselves."""
    _reset(page, request, [f"{quotas.KEY}{key.prefix}" for key in queryset if key.revoked_at is None])


def _reset(page: ModelAdmin, request: HttpRequest, names: list[str]) -> None:
    number, actor = 0, staff_actor(request.user)
    try:
        for name in names:
            for quota in quotas.quotas_of(name):
                if not quota.name.startswith("team-"):
                    quotas.reset(actor, name, quota.name)
                    number += 1
    except (StoreUnavailable, UnknownConsumer) as error:
        page.message_user(request, f"Quotas cannot be reset: {error}.", messages.ERROR)
    page.message_user(request, f"{number} reset.")


ApiKeyAdmin.actions = (*ApiKeyAdmin.actions, reset_own_quotas)  # here, since the page knows of no counters
