"""The codes of second factors."""

import time
from typing import Any, Final

from allauth.core import context
from allauth.core.internal.cryptokit import compare_user_code
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.mfa.utils import decrypt
from django import forms
from django.db import transaction
from django.utils.translation import gettext as _

from metrics.request_rates import exceeds

FAILED_CODES_RATE: Final = "5/m"
"""Wrong codes for one account. All six digits of a code would take half a year at this rate."""
PERIOD_SECONDS: Final = 30
TOLERANCE: Final = 1
"""Periods by which a phone's clock may differ."""
_LAST: Final = "last_counter"


class _CodeForm(forms.Form):
    """allauth remembers used codes in the cache, without which it accepts none. Here the database has the last one used
    (RFC 6238 section 5.2).
    """

    user: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _describe(self.fields["code"])

    def clean_code(self) -> str:
        code = str(self.cleaned_data["code"])[:64]
        if exceeds(context.request, "pages.failed.codes", self._account, FAILED_CODES_RATE):
            raise forms.ValidationError(_("Too many wrong codes. Try again in a minute."))
        for authenticator in Authenticator.objects.filter(user=self.user):
            if _accepts(authenticator, code):
                self.authenticator = authenticator
                authenticator.user = self.user
                return code
        exceeds(context.request, "pages.failed.codes", self._account, FAILED_CODES_RATE, count=True)
        raise forms.ValidationError(
            _(
                "This is not the present code, or it has been used. "
                "It is refused too if the clock of the phone is wrong."
            )
        )

    def _account(self, _group: str, _request: object) -> str:
        return str(self.user.pk)


class SecondFactorForm(_CodeForm, AuthenticateForm):
    pass


class SecondFactorConfirmForm(_CodeForm, ReauthenticateForm):
    pass


class SetUpForm(ActivateTOTPForm):
    """allauth's, with our tolerance. The code that sets the authenticator up is used by it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _describe(self.fields["code"])

    def clean_code(self) -> str:
        code = str(self.cleaned_data["code"])[:64]
        counter = matching_counter(self.secret, code, time.time())
        if counter is None:
            raise forms.ValidationError(
                _("This is not the present code of this key. It is refused too if the clock of the phone is wrong.")
            )
        self._counter = counter
        return code

    def use_code(self) -> None:
        """To be called once the authenticator is stored."""
        row = Authenticator.objects.get(user=self.user, type=Authenticator.Type.TOTP)
        row.data[_LAST] = self._counter
        row.save(update_fields=["data"])


def matching_counter(secret: str, code: str, now: float, after: int = -1) -> int | None:
    """The period of a code, if it is one of the present ones and later than `after`."""
    current = int(now) // PERIOD_SECONDS
    for counter in range(max(current - TOLERANCE, after + 1), current + TOLERANCE + 1):
        if compare_user_code(actual=code, expected=format_hotp_value(hotp_value(secret, counter))):
            return counter
    return None


def _accepts(authenticator: Authenticator, code: str) -> bool:
    if authenticator.type != Authenticator.Type.TOTP:
        return bool(authenticator.wrap().validate_code(code))
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().get(pk=authenticator.pk)
        counter = matching_counter(decrypt(row.data["secret"]), code, time.time(), row.data.get(_LAST, -1))
        if counter is not None:
            row.data[_LAST] = counter
            row.save(update_fields=["data"])
    return counter is not None


def _describe(field: forms.Field) -> None:
    field.label = _("Code")
    field.widget.attrs.pop("placeholder", None)
    field.widget.attrs.update(autocomplete="one-time-code", autofocus=True)
