"""The URLs of sign-in under `/accounts/`. Those of django-allauth that are not listed do not exist."""

from django.conf import settings
from django.urls import URLPattern, path

from metrics.sign_in import plain
from metrics.sign_in.provider import configured


def _plain() -> list[URLPattern]:
    return [
        path("login/", plain.LoginView.as_view(), name="account_login"),
        path("logout/", plain.LogoutView.as_view(), name="account_logout"),
    ]


def _with_allauth() -> list[URLPattern]:
    from metrics.sign_in import passwords, views  # noqa: PLC0415 - they import apps that may not be installed

    return [
        *_back_channel(),
        path("", passwords.AccountView.as_view(), name="mfa_index"),
        path("login/", passwords.LoginView.as_view(), name="account_login"),
        path("logout/", passwords.LogoutView.as_view(), name="account_logout"),
        path("confirm/", passwords.ConfirmPasswordView.as_view(), name="account_reauthenticate"),
        path("password/", passwords.PasswordView.as_view(), name="account_change_password"),
        path("provider/", views.ProviderView.as_view(), name="sign_in_provider"),
        path("provider/callback/", views.CallbackView.as_view(), name="sign_in_callback"),
        path("sessions/", passwords.SessionsView.as_view(), name="usersessions_list"),
        path("second-factor/", passwords.SecondFactorView.as_view(), name="mfa_authenticate"),
        path("second-factor/confirm/", passwords.ConfirmSecondFactorView.as_view(), name="mfa_reauthenticate"),
        path("second-factor/first/", passwords.FirstSecondFactorView.as_view(), name="sign_in_first_factor"),
        path("second-factor/set-up/", passwords.SetUpView.as_view(), name="mfa_activate_totp"),
        path("second-factor/remove/", passwords.RemoveView.as_view(), name="mfa_deactivate_totp"),
        path("recovery-codes/", passwords.CodesView.as_view(), name="mfa_view_recovery_codes"),
        path("recovery-codes/new/", passwords.NewCodesView.as_view(), name="mfa_generate_recovery_codes"),
    ]


def _back_channel() -> list[URLPattern]:
    if configured() is None:
        return []
    from metrics.sign_in import back_channel  # noqa: PLC0415 - as above

    return [path("provider/logout/", back_channel.BackChannelLogoutView.as_view(), name="sign_in_back_channel_logout")]


def admin_urls() -> list[URLPattern]:
    """Replacements of the admin's own login pages, which know no second factor and forget the page that was wanted."""
    if settings.CONFIG.sign_in is None:
        return [path("login/", plain.admin_login, name="admin_login")]
    from metrics.sign_in import passwords  # noqa: PLC0415 - as above

    return [
        path("login/", passwords.admin_login),
        path("logout/", passwords.LogoutView.as_view()),
        path("password_change/", passwords.password_change),
    ]


urlpatterns = _plain() if settings.CONFIG.sign_in is None else _with_allauth()
