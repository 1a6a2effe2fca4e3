"""Plans, teams and consumers. A saved change takes effect in every worker within a second."""

from collections.abc import Callable
from typing import Any, Final

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline

from metrics import quotas
from metrics.audit import staff_actor
from resilience.outage import StoreUnavailable
from routing.admin.consumer_forms import ConsumerForm, IdentityForm, PlanForm, TeamForm
from routing.admin.fields import HelpTextsMixin
from routing.admin.keys import ApiKeyAdmin
from routing.admin.rights import RightsMixin
from routing.admin.settings_admin import SettingsAdmin
from routing.configuration.decode import VERSION
from routing.configuration.document import canonical
from routing.models import ApiKey, Consumer, ConsumerIdentity, Plan, Team
from routing.pages.site import admin_site

LIMITS: Final = (_("Limits"), {"fields": ("rate", ("burst", "concurrency"), "quota")})


class LimitAdmin(SettingsAdmin, HelpTextsMixin, ModelAdmin):
    """What the pages of plans, teams and consumers have in common. Rows in use cannot be deleted."""

    search_fields: tuple[str, ...] = ("name",)


class SubscriberAdmin(LimitAdmin):
    """Teams and consumers, which are not in the history: there may be very many."""

    is_in_history = False

    def trial_document(self, request: HttpRequest, object_id: str | None) -> Callable[[], dict[str, Any]]:
        """Saving may change only the row that is saved, and the one that already has its name."""
        name = request.POST.get("name", "").strip()
        is_saved = models.Q(name=name) | (models.Q(pk=object_id) if object_id else models.Q())

        def document() -> dict[str, Any]:
            rows = self.model._default_manager.filter(is_saved)
            items = {row.name: self.document_of(row) for row in rows}
            return canonical({"version": VERSION, self.form.row_settings.section: items})

        return document

    def document_of(self, row: Any) -> dict[str, Any]:
        found: dict[str, Any] = row.to_document()
        return found


@admin.register(Plan, site=admin_site())
class PlanAdmin(LimitAdmin):
    list_display = ("name", "rate", "burst", "quota", "concurrency", "consumers", "offered")
    form = PlanForm
    sections = PlanForm.sections
    identity_fields = ("name",)
    plain_fieldsets = ((None, {"fields": (("name", "offered"), "services")}), LIMITS)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Plan]:
        plans: models.QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(consumer_count=models.Count("consumer"))

    @admin.display(description=_("consumers"))
    def consumers(self, plan: Plan) -> int:
        return getattr(plan, "consumer_count", 0)


@admin.register(Team, site=admin_site())
class TeamAdmin(SubscriberAdmin):
    form = TeamForm
    list_display = ("name", "plan", "rate", "quota")
    list_select_related = ("plan",)
    sections = TeamForm.sections
    identity_fields = ("name",)
    plain_fieldsets = ((None, {"fields": ("name", "plan", "signed_up")}), LIMITS)


class IdentityInline(RightsMixin, TabularInline):
    model = ConsumerIdentity
    form = IdentityForm
    extra = 0


@admin.register(Consumer, site=admin_site())
class ConsumerAdmin(SubscriberAdmin):
    form = ConsumerForm
    list_display = ("name", "enabled", "team", "plan", "created_at")
    list_filter = ("enabled", "plan")
    list_select_related = ("team", "plan")
    search_fields = ("name", "identities__subject", "keys__prefix")
    autocomplete_fields = ("team", "plan")
    inlines = (IdentityInline,)
    sections = ConsumerForm.sections
    identity_fields = ("name", "enabled")
    plain_fieldsets = ((None, {"fields": (("name", "enabled"), ("team", "plan"), "signed_up")}), LIMITS)
    show_full_result_count = False
    actions = ("reset_quotas",)

    def document_of(self, row: Any) -> dict[str, Any]:
        found: dict[str, Any] = row.with_identities()
        return found

    @admin.action(description=_("Reset quotas"), permissions=("operate",))
    def reset_quotas(self, request: HttpRequest, queryset: models.QuerySet[Consumer]) -> None:
        """Reset the consumers' own quotas and their plans'. A team's quota is shared, and not reset."""
        _reset(self, request, [consumer.name for consumer in queryset])

    def formfield_for_dbfield(self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "enabled":
            options["help_text"] = _("otherwise its keys and tokens are refused")
        return super().formfield_for_dbfield(db_field, request, **options)


@admin.action(description=_("Reset own quotas"), permissions=("operate",))
def reset_own_quotas(page: ModelAdmin, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
    """Reset the quotas that keys have themselves."""
    _reset(page, request, [f"{quotas.KEY}{key.prefix}" for key in queryset if key.revoked_at is None])


def _reset(page: ModelAdmin, request: HttpRequest, names: list[str]) -> None:
    number, actor = 0, staff_actor(request.user)
    try:
        for name in names:
            for quota in quotas.quotas_of(name):
                if not quota.name.startswith("team-"):
                    quotas.reset(actor, name, quota.name)
                    number += 1
    except (StoreUnavailable, quotas.UnknownConsumer) as error:
        page.message_user(request, gettext("Quotas cannot be reset: %(error)s.") % {"error": error}, messages.ERROR)
    page.message_user(request, gettext("%(number)d reset.") % {"number": number})


ApiKeyAdmin.actions = (*ApiKeyAdmin.actions, reset_own_quotas)  # here, since routing.admin does not depend on counters
