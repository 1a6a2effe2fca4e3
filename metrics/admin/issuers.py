"""Identity providers whose tokens are accepted."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from routing.admin.mapping_forms import IssuerForm
from routing.admin.settings_admin import SettingsAdmin
from routing.models import Issuer
from routing.pages.site import admin_site


@admin.register(Issuer, site=admin_site())
class IssuerAdmin(SettingsAdmin, ModelAdmin):
    form = IssuerForm
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

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Refuse lookups of settings, which would tell a viewer whether a guess at a secret is right."""
        return not lookup.startswith("settings") and bool(super().lookup_allowed(lookup, value, request))

    @admin.display(description=_("audience"))
    def audience(self, issuer: Issuer) -> str:
        return joined(issuer.settings.get("audience"))

    @admin.display(description=_("services"))
    def services(self, issuer: Issuer) -> str:
        return joined(issuer.settings.get("services"))


def joined(value: Any) -> str:
    """One or several values of a setting."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
