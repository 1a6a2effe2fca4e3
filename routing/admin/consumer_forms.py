"""The forms of plans, teams and consumers, and of consumers' identities."""

from django.utils.translation import gettext_lazy as _

from routing.admin.scopes_form import ScopesForm
from routing.admin.setting_fields.consumers import LIMITS, PLAN, PLAN_SECTIONS
from routing.admin.setting_fields.lists import Words
from routing.admin.setting_fields.section import NONE
from routing.admin.setting_fields.suggestions import scope_names
from routing.admin.setting_rows.consumers import ConsumerSettings, PlanSettings, TeamSettings
from routing.admin.settings_form import SettingsForm, with_settings


@with_settings({**PLAN, **LIMITS}, PLAN_SECTIONS)
class PlanForm(SettingsForm):
    row_settings = PlanSettings


@with_settings(LIMITS, {})
class TeamForm(SettingsForm):
    row_settings = TeamSettings


@with_settings(LIMITS, {})
class ConsumerForm(SettingsForm):
    row_settings = ConsumerSettings
    guarded = ("identities",)


class IdentityForm(ScopesForm):
    scopes = Words(label=_("Scopes"), help_text=_("of client certificates"), suggestions=scope_names, empty=NONE)
