"""How django-allauth is adapted: no messages, no email, our pages, and secrets encrypted at rest."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from metrics.sign_in.pages import landing, message
from metrics.sign_in.policy import SecondFactor
from metrics.sign_in.provider import sign_in
from routing.credentials.cipher import Cipher

_SECRET_NAME = "second factor"  # noqa: S105 - what the ciphertext is bound to


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002 - allauth's signature
        return False

    def add_message(self, *_: Any, **__: Any) -> None:
        """Nothing: the admin would show it later."""

    def send_mail(self, *_: Any, **__: Any) -> None:
        """Nothing: the gateway sends no email."""

    def is_safe_url(self, url: str) -> bool:
        """allauth's also accepts every host of ALLOWED_HOSTS, among which are services' own."""
        request = context.request
        return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())

    def get_client_ip(self, request: HttpRequest) -> str:
        """The client's address, as TrustedProxyMiddleware has determined it."""
        return str(request.META["REMOTE_ADDR"])

    def get_login_stages(self) -> list[str]:
        stages = f"{__name__.rpartition('.')[0]}.stages"
        return [f"{stages}.SecondFactorStage", f"{stages}.FirstSecondFactorStage"]

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return landing(request, request.user, "") or reverse("mfa_index")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:  # noqa: ARG002 - allauth's signature
        return reverse("mfa_index")

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:  # noqa: ARG002 - as above
        return message(request, _("You may not sign in"), _("Your account is switched off."), 403)


class SecondFactorAdapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return _cipher().encrypt(_SECRET_NAME, text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Raises PermissionDenied if the key has changed: the page then says what to do."""
        found = _cipher().decrypt(_SECRET_NAME, encrypted_text.encode())
        if found is None:
            raise PermissionDenied(
                _(
                    "Your second factor cannot be read: SECRET_KEY or CREDENTIAL_KEYS have changed. "
                    "A superuser can delete it."
                )
            )
        return found.decode()

    def can_delete_authenticator(self, authenticator: Any) -> bool:  # noqa: ARG002 - allauth's signature
        return bool(sign_in().second_factor is not SecondFactor.REQUIRED)


def _cipher() -> Cipher:
    return Cipher(settings.CONFIG.credential_keys, settings.CONFIG.secret_key)
