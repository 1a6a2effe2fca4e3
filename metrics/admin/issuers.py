"""Identity providers whose tokens are accepted."""

from typing import Any

from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from routing.admin.mapping_forms import IssuerForm
from routing.admin.rights import HiddenColumnsMixin
from routing.admin.settings_admin import SettingsAdmin
from routing.models import Issuer
from routing.pages.site import admin_site


@admin.register(Issuer, site=admin_site())
class IssuerAdmin(HiddenColumnsMixin, SettingsAdmin, ModelAdmin):
    form = IssuerForm
    hidden_columns = ("settings",)
    list_display = ("issuer", "enabled", "audience", "services")
    list_filter = ("enabled",)
    search_fields = ("issuer",)
    sections = IssuerForm.sections
    identity_fields = ("issuer", "enabled")
    plain_fieldsets = (
        (None, {"fields": ("issuer", "enabled")}),
        (
            _("Tokens"),
            {"fields": ("audience", "services", "require", "algorithms", ("leeway", "jwks_uri"), "typ")},
        ),
    )

    @admin.display(description=_("audience"))
    def audience(self, issuer: Issuer) -> str:
        return joined(issuer.settings.get("audience"))

    @admin.display(description=_("services"))
    def services(self, issuer: Issuer) -> str:
        return joined(issuer.settings.get("services"))


def joined(value: Any) -> str:
    """One or several values of a setting."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
