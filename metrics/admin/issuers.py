"""Identity providers whose tokens are accepted."""

from typing import Any, Final

from django.contrib import admin
from unfold.admin import ModelAdmin

from metrics.admin.masked_settings import MaskedSettingsForm, MaskedSettingsMixin
from routing.admin.fields import FileSyntaxMixin
from routing.admin.rights import RightsMixin
from routing.models import Issuer
from routing.pages.site import admin_site

SETTINGS_HELP: Final = (
    "{audience: my-api, algorithms: [RS256], leeway: 60s, claims: {tenant: org_id}, require: {email_verified: true}, "
    "services: [crm]}: the audience is required; signing keys are found by discovery, or at jwks_uri"
)


class IssuerForm(MaskedSettingsForm):
    secret_name = "client_secret"  # noqa: S105 - the name of a setting

    def to_document(self, settings: Any) -> dict[str, Any]:
        own = settings if isinstance(settings, dict) else {}
        return {"issuers": [{**own, "issuer": self.instance.issuer or ""}]}

    def from_document(self, document: dict[str, Any]) -> Any:
        return {name: value for name, value in document["issuers"][0].items() if name != "issuer"}

    def clean_settings(self) -> Any:
        value = self.cleaned_data["settings"]
        return super().clean_settings() if isinstance(value, dict) else value  # a fault that the model reports


@admin.register(Issuer, site=admin_site())
class IssuerAdmin(RightsMixin, MaskedSettingsMixin, FileSyntaxMixin, ModelAdmin):
    form = IssuerForm
    settings_help = SETTINGS_HELP
    list_display = ("issuer", "enabled", "audience", "services")
    list_filter = ("enabled",)
    search_fields = ("issuer",)
    fields = ("issuer", "enabled", "settings")

    @admin.display(description="audience")
    def audience(self, issuer: Issuer) -> str:
        return _joined(issuer.settings.get("audience"))

    @admin.display(description="services")
    def services(self, issuer: Issuer) -> str:
        return _joined(issuer.settings.get("services"))


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
