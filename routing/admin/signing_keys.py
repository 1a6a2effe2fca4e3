"""The admin page for signing keys: issue, rotate and revoke them."""

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from routing.admin.fields import HelpTextsMixin
from routing.admin.guarded_form import SEEN, GuardedForm
from routing.admin.rights import RightsMixin
from routing.admin.scopes_form import ScopesForm
from routing.admin.setting_fields.lists import Words
from routing.admin.setting_fields.section import NONE
from routing.admin.setting_fields.suggestions import scope_names
from routing.admin.stored_secrets import check_reference
from routing.authentication.signatures.algorithms import SignatureAlgorithm
from routing.configuration.headers import reference
from routing.credentials.cipher import Cipher
from routing.credentials.signing_keys import issue, revoke, rotate
from routing.models import SigningKey
from routing.pages.messages import SHOWN_ONCE
from routing.pages.names import with_name
from routing.pages.site import admin_site

GRACE: Final = timedelta(hours=24)
"""How long the present secret stays valid when a key is rotated here."""


def cipher() -> Cipher:
    return Cipher(settings.CONFIG.credential_keys, settings.CONFIG.secret_key)


class SigningKeyForm(GuardedForm, ScopesForm):
    scopes = Words(
        label=_("Scopes"), help_text=_("services and scopes that the key may use"), suggestions=scope_names, empty=NONE
    )
    secret_reference = forms.CharField(
        required=False,
        label=_("Secret"),
        widget=UnfoldAdminTextInputWidget,
        help_text=_("For hmac-sha256: env:GATEWAY_SECRET_NAME or file:/run/secrets/NAME. Empty: a secret is made."),
    )

    def clean_secret_reference(self) -> str:
        value = str(self.cleaned_data["secret_reference"])
        found = reference(value)
        if value and (found is None or found.scheme):
            raise ValidationError(_("Write env:NAME or file:/PATH, not the secret itself."))
        check_reference("secret", value)
        return value

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("secret_reference") and values.get("algorithm") != SignatureAlgorithm.HMAC_SHA256:
            raise ValidationError({"secret_reference": "This algorithm has a public key, and no secret."})
        return values


@admin.register(SigningKey, site=admin_site())
class SigningKeyAdmin(RightsMixin, HelpTextsMixin, ModelAdmin):
    form = SigningKeyForm
    list_display = ("keyid", "state", "algorithm", "consumer", "created_at", "until")
    list_filter = ("algorithm",)
    list_select_related = ("consumer",)
    search_fields = ("keyid", "consumer__name")
    autocomplete_fields = ("consumer",)
    readonly_fields = ("created_by", "created_at", "valid_until")
    actions = ("rotate_secrets", "revoke_keys")

    class Media:
        js = (Script("forms/settings.js", type="module"),)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        new = ("keyid", "consumer", "algorithm", "public_key", "secret_reference", "scopes", "expires_at")
        if obj is None:
            return ((None, {"fields": new}),)
        seen = (SEEN,) if self.has_change_permission(request, obj) else ()
        own = [*(name for name in new if name != "secret_reference"), *seen]
        return ((None, {"fields": own}), (_("Use"), {"fields": self.readonly_fields}))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What identifies the key and verifies its signatures cannot be changed: a rotation replaces the key."""
        own = super().get_readonly_fields(request, obj)
        return (*own, "keyid", "consumer", "algorithm", "public_key") if obj is not None else own

    @display(description=_("state"), label={"active": "success", "replaced": "warning", "expired": "danger"})
    def state(self, key: SigningKey) -> tuple[str, str]:
        return with_name(key.state())

    def save_model(self, request: HttpRequest, obj: SigningKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        secret = issue(obj, cipher(), form.cleaned_data.get("secret_reference") or "")
        if secret:
            messages.warning(
                request,
                gettext("The secret of %(name)s, shown only this once:") % {"name": obj.keyid} + f" {secret}",
                SHOWN_ONCE,
            )

    @admin.action(description=_("Rotate: a new secret, the present one is valid for 24 hours"), permissions=("change",))
    def rotate_secrets(self, request: HttpRequest, queryset: models.QuerySet[SigningKey]) -> None:
        for key in queryset:
            if key.algorithm != SignatureAlgorithm.HMAC_SHA256:
                text = gettext(
                    "%(key)s: its owner makes the new key: manage.py signingkey rotate %(key)s --public-key FILE."
                ) % {"key": key}
                self.message_user(request, text, messages.ERROR)
                continue
            try:
                _successor, secret = rotate(key, cipher(), GRACE)
            except ValueError as fault:
                self.message_user(request, f"{key}: {fault}.", messages.ERROR)
                continue
            self.log_change(request, key, "Rotated.")
            messages.warning(
                request,
                gettext("The new secret of %(name)s, shown only this once:") % {"name": key} + f" {secret}",
                SHOWN_ONCE,
            )

    @admin.action(description=_("Revoke"), permissions=("change",))
    def revoke_keys(self, request: HttpRequest, queryset: models.QuerySet[SigningKey]) -> None:
        """With the key, those that it has replaced and that are still accepted."""
        number = 0
        for key in queryset:
            ended = revoke(key.keyid)
            if ended:
                self.log_change(request, key, "Revoked.")
            number += ended
        self.message_user(request, gettext("%(number)d revoked.") % {"number": number})
