"""Pages of sign-in with a password and of a person's account, on django-allauth's views."""

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from allauth.account.internal.decorators import login_stage_required
from allauth.account.internal.flows.login import record_authentication
from allauth.account.views import PasswordChangeView, ReauthenticateView
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.views import AuthenticateView
from allauth.mfa.base.views import ReauthenticateView as MFAReauthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.signals import authenticator_added
from allauth.mfa.totp.internal.auth import TOTP, clear_totp_secret
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.usersessions.models import UserSession
from allauth.usersessions.views import ListUserSessionsView
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views import View
from django.views.generic import FormView, TemplateView

from metrics.sign_in import plain, provider, sessions
from metrics.sign_in.forms import SetUpForm
from metrics.sign_in.pages import landing, message, protect, safe_next
from metrics.sign_in.policy import SecondFactor
from metrics.sign_in.stages import FirstSecondFactorStage

if TYPE_CHECKING:
    _SetUpFormView = FormView[SetUpForm]
else:
    _SetUpFormView = FormView


class Protected(View):
    """A page of this package: its Content-Security-Policy, and no caching."""

    leads_to_provider = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: Any = super().dispatch(request, *args, **kwargs)
        return protect(response, leads_to_provider=self.leads_to_provider)


class LoginView(plain.LoginView):
    leads_to_provider = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and not provider.sign_in().has_password_login:
            text = _("Passwords are switched off here. Sign in with the identity provider.")
            return message(request, _("You may not sign in"), text, 403)
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        user = form.get_user()
        wanted = safe_next(self.request, self.request.POST.get("next", ""))
        return sessions.begin_password_session(
            self.request, user, landing(self.request, user, wanted) or reverse("account_login")
        )


class LogoutView(View):
    """Ends the session here, and leads on to the provider if it began there (OpenID Connect RP-Initiated Logout)."""

    def post(self, request: HttpRequest) -> HttpResponse:
        configured, hint = provider.configured(), request.session.get(sessions.ID_TOKEN)
        UserSession.objects.filter(session_key=request.session.session_key).delete()
        logout(request)
        context = {}
        if configured is not None and hint is not None:
            back = request.build_absolute_uri(reverse("account_login"))
            url = provider.client(configured).end_session_url(hint, back)
            context = {"provider_url": url, "provider": configured.label}
        return protect(render(request, "sign_in/signed_out.html", context))


def admin_login(request: HttpRequest) -> HttpResponse:
    wanted = safe_next(request, request.GET.get("next", ""))
    return redirect(f"{reverse('account_login')}{'?' if wanted else ''}{urlencode({'next': wanted} if wanted else {})}")


def password_change(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    return redirect("account_change_password")


def _focused(form: Any) -> Any:
    """The form with the focus on its first field."""
    next(iter(form.fields.values())).widget.attrs["autofocus"] = True
    return form


@method_decorator(login_required, name="dispatch")
class AccountView(Protected, TemplateView):
    template_name = "sign_in/account.html"
    leads_to_provider = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user: Any = self.request.user
        configured = provider.configured()
        found = {each.type: each.wrap() for each in Authenticator.objects.filter(user=user)}
        codes = found.get(Authenticator.Type.RECOVERY_CODES)
        return {
            **super().get_context_data(**kwargs),
            "provider": configured and configured.label,
            "identities": user.identities.exists(),
            "second_factor": provider.sign_in().second_factor is not SecondFactor.OFF,
            "authenticators": found,
            "unused_codes": len(codes.get_unused_codes()) if codes else 0,
            "has_staff_pages": user.is_staff,
        }


@method_decorator(login_required, name="dispatch")
class ConfirmPasswordView(Protected, ReauthenticateView):
    leads_to_provider = True

    def get_form(self, *args: Any, **kwargs: Any) -> Any:
        return _focused(super().get_form(*args, **kwargs))


class ConfirmSecondFactorView(Protected, MFAReauthenticateView):
    leads_to_provider = True


class PasswordView(Protected, PasswordChangeView):
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated and not request.user.has_usable_password():
            return redirect("mfa_index")
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        messages.success(self.request, _("Your password has been changed. Your other sessions have ended."))
        return response

    def get_form(self, *args: Any, **kwargs: Any) -> Any:
        return _focused(super().get_form(*args, **kwargs))


class SecondFactorView(Protected, AuthenticateView):
    pass


class SetUpView(Protected, ActivateTOTPView):
    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        form.use_code()
        return response


class RemoveView(Protected, DeactivateTOTPView):
    pass


class CodesView(Protected, ViewRecoveryCodesView):
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Leads on to new codes if a superuser has deleted those that there were."""
        types = set(Authenticator.objects.filter(user_id=request.user.pk).values_list("type", flat=True))
        if types == {Authenticator.Type.TOTP}:
            return redirect("mfa_generate_recovery_codes")
        response: HttpResponseBase = super().get(request, *args, **kwargs)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """`next` is the page that was wanted before the second factor was set up, if this follows it."""
        return {**super().get_context_data(**kwargs), "next": safe_next(self.request, self.request.GET.get("next", ""))}


class NewCodesView(Protected, GenerateRecoveryCodesView):
    pass


class SessionsView(Protected, ListUserSessionsView):
    """A person's own sessions: one is ended by its number, or all others without one."""

    def post(self, request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
        mine = UserSession.objects.filter(user_id=request.user.pk).exclude(session_key=request.session.session_key)
        chosen = request.POST.get("session", "")
        if chosen:
            mine = mine.filter(pk=chosen) if chosen.isdecimal() and len(chosen) < 19 else mine.none()
        for session in mine:
            sessions.end_session(request.user, session)
        return redirect("usersessions_list")


@method_decorator(login_stage_required(FirstSecondFactorStage.key, "account_login"), name="dispatch")
class FirstSecondFactorView(Protected, _SetUpFormView):
    """Sets up the second factor that is required, before the session begins; then the recovery codes are shown."""

    template_name = "mfa/totp/activate_form.html"

    def get_form(self, *_: Any) -> Any:
        return SetUpForm(**{**self.get_form_kwargs(), "user": self._stage.login.user})

    def form_valid(self, form: Any) -> HttpResponse:
        user, stage = self._stage.login.user, self._stage
        authenticator = TOTP.activate(user, form.secret).instance
        form.use_code()
        RecoveryCodes.activate(user)
        clear_totp_secret(self.request)
        authenticator_added.send(sender=Authenticator, request=self.request, user=user, authenticator=authenticator)
        record_authentication(self.request, user, "mfa", id=authenticator.pk, reauthenticated=True)
        wanted = stage.exit().url
        return redirect(f"{reverse('mfa_view_recovery_codes')}?{urlencode({'next': wanted})}")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        adapter = get_adapter()
        image = adapter.build_totp_svg(adapter.build_totp_url(self._stage.login.user, context["form"].secret))
        encoded = b64encode(image.encode()).decode()
        return {**context, "is_required": True, "totp_svg_data_uri": f"data:image/svg+xml;base64,{encoded}"}

    @property
    def _stage(self) -> Any:
        return self.request._login_stage  # type: ignore[attr-defined] # set by login_stage_required
