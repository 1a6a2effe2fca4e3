"""How a session begins and ends, with django-allauth's steps of a login."""

from typing import Any, Final

from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import Login
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse

from metrics.audit import record_operation, staff_actor
from metrics.sign_in.provider import sign_in
from metrics.sign_in.stages import AT_PROVIDER

ID_TOKEN: Final = "sign_in_id_token"  # noqa: S105 - a session's key: shown to the provider when the session ends


def begin_password_session(request: HttpRequest, user: User, target: str) -> HttpResponse:
    """The next step after a password: the second factor, or `target`."""
    clear_login(request)
    record_authentication(request, user, "password")
    response: HttpResponse = perform_login(request, Login(user=user, redirect_url=target))
    return response


def begin_provider_session(request: HttpRequest, user: User, target: str, id_token: str) -> HttpResponse:
    clear_login(request)
    record_authentication(request, user, "provider")
    response: HttpResponse = perform_login(request, Login(user=user, redirect_url=target, state={AT_PROVIDER: True}))
    if request.user.is_authenticated:
        request.session[ID_TOKEN] = id_token
        request.session.set_expiry(sign_in().session_hours * 3_600)
    return response


def require_recent_authentication(request: HttpRequest) -> None:
    """Raise allauth's ReauthenticationRequired, whose middleware asks for the password."""
    raise_if_reauthentication_required(request, app="")


def end_session(actor: Any, session: UserSession) -> None:
    session.end()
    after = {"user": session.user.get_username(), "address": session.ip}
    record_operation(staff_actor(actor), "account.session_ended", after=after)
