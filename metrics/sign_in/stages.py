"""What stands between a password and a session: the second factor, or setting one up."""

from allauth.account.stages import LoginStage
from allauth.mfa.models import Authenticator
from allauth.mfa.stages import AuthenticateStage
from allauth.mfa.utils import is_mfa_enabled
from django.http import HttpResponse
from django.shortcuts import redirect

from metrics.sign_in.policy import SecondFactor
from metrics.sign_in.provider import sign_in

AT_PROVIDER = "at_provider"
"""The key in the state of a login that began at the provider."""
Outcome = tuple[HttpResponse | None, bool]


class SecondFactorStage(AuthenticateStage):
    """allauth's, but not for people whom the provider has checked, and not if second factors are off."""

    def handle(self) -> Outcome:
        if self.login.state.get(AT_PROVIDER) or sign_in().second_factor is SecondFactor.OFF:
            return None, True
        outcome: Outcome = super().handle()
        return outcome


class FirstSecondFactorStage(LoginStage):
    """Sets up a second factor where one is required and there is none."""

    key = "first_second_factor"
    urlname = "sign_in_first_factor"

    def handle(self) -> Outcome:
        is_required = sign_in().second_factor is SecondFactor.REQUIRED
        if not is_required or self.login.state.get(AT_PROVIDER):
            return None, True
        if is_mfa_enabled(self.login.user, [Authenticator.Type.TOTP]):
            return None, True
        return redirect(self.urlname), True
