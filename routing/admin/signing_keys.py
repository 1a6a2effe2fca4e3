"""The admin page for signing keys: issue, rotate and revoke them."""

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from routing.admin.fields import FileSyntaxMixin
from routing.admin.rights import RightsMixin
from routing.admin.stored_secrets import check_reference
from routing.authentication.signatures.algorithms import SignatureAlgorithm
from routing.configuration.headers import reference
from routing.credentials.cipher import Cipher
from routing.credentials.signing_keys import issue, revoke, rotate
from routing.models import SigningKey
from routing.pages.messages import SHOWN_ONCE
from routing.pages.site import admin_site

GRACE: Final = timedelta(hours=24)
"""How long the present secret stays valid when a key is rotated here."""


def cipher() -> Cipher:
    return Cipher(settings.CONFIG.credential_keys, settings.CONFIG.secret_key)


class SigningKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    secret_reference = forms.CharField(
        required=False,
        label="Secret",
        widget=UnfoldAdminTextInputWidget,
        help_text="For hmac-sha256: env:GATEWAY_SECRET_NAME or file:/run/secrets/NAME. Empty: a secret is made.",
    )

    def clean_secret_reference(self) -> str:
        value = str(self.cleaned_data["secret_reference"])
        found = reference(value)
        if value and (found is None or found.scheme):
            raise ValidationError("Write env:NAME or file:/PATH, not the secret itself.")
        check_reference("secret", value)
        return value

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("secret_reference") and values.get("algorithm") != SignatureAlgorithm.HMAC_SHA256:
            raise ValidationError({"secret_reference": "This algorithm has a public key, and no secret."})
        return values


@admin.register(SigningKey, site=admin_site())
class SigningKeyAdmin(RightsMixin, FileSyntaxMixin, ModelAdmin):
    form = SigningKeyForm
    list_display = ("keyid", "state", "algorithm", "consumer", "created_at", "until")
    list_filter = ("algorithm",)
    list_select_related = ("consumer",)
    search_fields = ("keyid", "consumer__name")
    autocomplete_fields = ("consumer",)
    readonly_fields = ("created_by", "created_at", "valid_until")
    actions = ("rotate_secrets", "revoke_keys")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:  # noqa: ARG002 - Django's signature
        new = ("keyid", "consumer", "algorithm", "public_key", "secret_reference", "scopes", "expires_at")
        if obj is None:
            return ((None, {"fields": new}),)
        own = [name for name in new if name != "secret_reference"]
        return ((None, {"fields": own}), ("Use", {"fields": self.readonly_fields}))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """What the key is cannot be changed: a rotation replaces it."""
        own = super().get_readonly_fields(request, obj)
        return (*own, "keyid", "consumer", "algorithm", "public_key") if obj is not None else own

    @display(description="state", label={"active": "success", "replaced": "warning", "expired": "danger"})
    def state(self, key: SigningKey) -> str:
        return key.state()

    def save_model(self, request: HttpRequest, obj: SigningKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        secret = issue(obj, cipher(), form.cleaned_data.get("secret_reference") or "")
        if secret:
            messages.warning(request, f"The secret of {obj.keyid}, shown only this once: {secret}", SHOWN_ONCE)

    @admin.action(description="Rotate: a new secret, the present one is valid for 24 hours", permissions=("change",))
    def rotate_secrets(self, request: HttpRequest, queryset: models.QuerySet[SigningKey]) -> None:
        for key in queryset:
            if key.algorithm != SignatureAlgorithm.HMAC_SHA256:
                text = f"{key}: its owner makes the new key: manage.py signingkey rotate {key} --public-key FILE."
                self.message_user(request, text, messages.ERROR)
                continue
            try:
                _, secret = rotate(key, cipher(), GRACE)
            except ValueError as fault:
                self.message_user(request, f"{key}: {fault}.", messages.ERROR)
                continue
            self.log_change(request, key, "Rotated.")
            messages.warning(request, f"The new secret of {key}, shown only this once: {secret}", SHOWN_ONCE)

    @admin.action(description="Revoke", permissions=("change",))
    def revoke_keys(self, request: HttpRequest, queryset: models.QuerySet[SigningKey]) -> None:
        """With the key, those that it has replaced and that are still accepted."""
        number = 0
        for key in queryset:
            ended = revoke(key.keyid)
            if ended:
                self.log_change(request, key, "Revoked.")
            number += ended
        self.message_user(request, f"{number} revoked.")
