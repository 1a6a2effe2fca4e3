"""The portal's forms."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from routing.authentication.key_form import ENVIRONMENTS
from routing.models import Member, Plan

EXPIRIES: Final = {
    "30": gettext_lazy("in 30 days"),
    "90": gettext_lazy("in 90 days"),
    "365": gettext_lazy("in a year"),
    "": gettext_lazy("never"),
}
GRACES: Final = {
    "86400": gettext_lazy("for 24 hours"),
    "3600": gettext_lazy("for an hour"),
    "604800": gettext_lazy("for 7 days"),
    "0": gettext_lazy("not at all: the key has leaked"),
}


class ServicesForm(forms.Form):
    """`names` are the services that may be chosen."""

    services = forms.MultipleChoiceField(
        label=gettext_lazy("Services"),
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one service.")},
    )

    def __init__(self, names: Iterable[str], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        field: Any = self.fields["services"]
        field.choices = [(name, name) for name in names]


class KeyForm(ServicesForm):
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("where it will be used, such as “web shop, staging”"),
    )
    environment = forms.ChoiceField(
        label=gettext_lazy("Environment"),
        required=False,
        choices=[("", gettext_lazy("any")), *((name, name) for name in ENVIRONMENTS)],
        help_text=gettext_lazy("part of the key's text, to tell keys apart"),
    )
    expires = forms.ChoiceField(label=gettext_lazy("Expires"), required=False, choices=list(EXPIRIES.items()))
    field_order = ("name", "services", "environment", "expires")

    @property
    def lifetime(self) -> timedelta | None:
        days = self.cleaned_data["expires"]
        return timedelta(days=int(days)) if days else None


class RotateForm(forms.Form):
    grace = forms.ChoiceField(label=gettext_lazy("The present secret is accepted"), choices=list(GRACES.items()))

    @property
    def duration(self) -> timedelta:
        return timedelta(seconds=int(self.cleaned_data["grace"]))


class RevokeForm(forms.Form):
    confirm = forms.BooleanField(
        label=gettext_lazy("Requests with this key shall be refused from now on"),
        error_messages={"required": gettext_lazy("Confirm that the key shall be revoked.")},
    )


class PlanForm(forms.Form):
    """`plans` are those that are offered; without one, the text says what is needed."""

    plan = forms.ModelChoiceField(
        Plan.objects.none(),
        label=gettext_lazy("Plan"),
        required=False,
        empty_label=gettext_lazy("another one, as described"),
    )
    reason = forms.CharField(
        label=gettext_lazy("What you need it for"),
        max_length=2_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )

    def __init__(self, plans: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        field: Any = self.fields["plan"]
        field.queryset = plans
        if not plans.exists():
            del self.fields["plan"]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if not data.get("plan") and not data.get("reason", "").strip():
            self.add_error("reason", _("Say what you need."))
        return data


class InvitationForm(forms.Form):
    email = forms.EmailField(label=gettext_lazy("Email address"), max_length=150)
    role = forms.ChoiceField(
        label=gettext_lazy("Role"),
        choices=[
            (Member.Role.MEMBER, gettext_lazy("Member")),
            (Member.Role.MANAGER, gettext_lazy("Manager, who may invite others")),
        ],
    )
