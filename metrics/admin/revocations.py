"""Revoked tokens: listed, added and ended by those who may operate the gateway."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from metrics import revocations
from metrics.audit import staff_actor
from metrics.revocations import DEFAULT, LONGEST, MAX_REVOCATIONS
from routing.admin.rights import RightsMixin
from routing.errors import BadRequest
from routing.models import Revocation
from routing.pages.site import admin_site
from routing.rights import Right, may


class RevocationForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if bool(data.get("subject")) == bool(data.get("token_id")) and not self.errors:
            raise forms.ValidationError(_("Enter either a subject or the id of a token."))
        if Revocation.objects.filter(until__gt=timezone.now()).count() >= MAX_REVOCATIONS:
            raise forms.ValidationError(
                _("There are %(number)d revocations already."), params={"number": MAX_REVOCATIONS}
            )
        return data

    def clean_issuer(self) -> str:
        issuer = str(self.cleaned_data["issuer"] or "")
        _checked(revocations.check_issuer, issuer)
        return issuer

    def clean_subject(self) -> str:
        subject = str(self.cleaned_data["subject"] or "")
        _checked(revocations.check_subject, subject)
        return subject

    def clean_until(self) -> Any:
        until, now = self.cleaned_data["until"], timezone.now()
        if until is not None and not now < until <= now + LONGEST:
            raise forms.ValidationError(_("Enter a time within the next %(days)d days."), params={"days": LONGEST.days})
        return until


def _checked(check: Callable[[str], None], value: str) -> None:
    try:
        check(value)
    except BadRequest as error:
        raise forms.ValidationError(error.detail) from None


@admin.register(Revocation, site=admin_site())
class RevocationAdmin(RightsMixin, ModelAdmin):
    form = RevocationForm
    list_display = ("revoked", "issuer_name", "until", "reason", "actor", "created_at")
    search_fields = ("subject", "token_id", "issuer", "reason", "actor")
    fields = ("subject", "token_id", "issuer", "until", "reason")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return may(request.user, Right.OPERATE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return may(request.user, Right.OPERATE)

    def get_queryset(self, request: HttpRequest) -> "models.QuerySet[Revocation]":
        """The revocations in force."""
        rows: models.QuerySet[Revocation] = super().get_queryset(request)
        return rows.filter(until__gt=timezone.now())

    def formfield_for_dbfield(self, db_field: "models.Field[Any, Any]", request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name in _HELP and field is not None:
            field.label, field.help_text = _HELP[db_field.name]
            field.required = False
        return field

    @admin.display(description=_("revoked"), ordering="pk")
    def revoked(self, revocation: Revocation) -> str:
        return str(revocation)

    @admin.display(description=_("issuer"), ordering="issuer")
    def issuer_name(self, revocation: Revocation) -> str:
        return revocation.issuer or gettext("every issuer")

    def save_model(self, request: HttpRequest, obj: Revocation, form: Any, change: bool) -> None:  # noqa: ARG002 - as above
        row = revocations.revoke(
            staff_actor(request.user),
            issuer=obj.issuer,
            subject=obj.subject,
            token_id=obj.token_id,
            until=obj.until,
            reason=obj.reason,
        )
        obj.pk, obj.until = row.pk, row.until

    def delete_model(self, request: HttpRequest, obj: Revocation) -> None:
        revocations.lift(staff_actor(request.user), obj.pk)

    def delete_queryset(self, request: HttpRequest, queryset: "models.QuerySet[Revocation]") -> None:
        for revocation in queryset:
            self.delete_model(request, revocation)


_HELP = {
    "subject": (
        _("Subject"),
        _("All its tokens are refused, those issued later included; of Firebase: the user's uid."),
    ),
    "token_id": (_("Token id"), _("The jti of one token, instead of a subject.")),
    "issuer": (_("Issuer"), _("As in the tokens; empty for every issuer.")),
    "until": (
        _("Until"),
        format_lazy(_("By default in {default} days, at most in {most}."), default=DEFAULT.days, most=LONGEST.days),
    ),
    "reason": (_("Reason"), _("Shown here and in the audit log.")),
}
