"""The forms of webhooks, issuers and alerts."""

from routing.admin.setting_fields.webhooks import ALERT, ISSUER, ISSUER_SECTIONS, WEBHOOK, WEBHOOK_SECTIONS
from routing.admin.setting_rows.mappings import AlertSettings, IssuerSettings, WebhookSettings
from routing.admin.settings_form import SettingsForm, with_settings


@with_settings(WEBHOOK, WEBHOOK_SECTIONS)
class WebhookForm(SettingsForm):
    row_settings = WebhookSettings


@with_settings(ISSUER, ISSUER_SECTIONS)
class IssuerForm(SettingsForm):
    row_settings = IssuerSettings


@with_settings(ALERT, {})
class AlertForm(SettingsForm):
    row_settings = AlertSettings
