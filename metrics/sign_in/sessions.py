"""How a session begins and ends, with django-allauth's steps of a login."""

from typing import Any, Final

import msgspec
from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import Login
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest, HttpResponse

from metrics.audit import record_operation, staff_actor
from metrics.sign_in.claims import ProviderSession
from metrics.sign_in.logout_token import LogoutRequest
from metrics.sign_in.provider import sign_in
from metrics.sign_in.stages import AT_PROVIDER

ID_TOKEN: Final = "sign_in_id_token"  # noqa: S105 - a session's key: shown to the provider when the session ends
_BEGUN: Final = "sign_in_provider_session"
"""A session's key: its ProviderSession, which its UserSession has too."""


def begin_password_session(request: HttpRequest, user: User, target: str) -> HttpResponse:
    """The next step after a password: the second factor, or `target`."""
    clear_login(request)
    record_authentication(request, user, "password")
    response: HttpResponse = perform_login(request, Login(user=user, redirect_url=target))
    return response


def begin_provider_session(
    request: HttpRequest, user: User, target: str, id_token: str, session: ProviderSession
) -> HttpResponse:
    clear_login(request)
    record_authentication(request, user, "provider")
    response: HttpResponse = perform_login(request, Login(user=user, redirect_url=target, state={AT_PROVIDER: True}))
    if request.user.is_authenticated:
        request.session[ID_TOKEN] = id_token
        request.session[_BEGUN] = msgspec.to_builtins(session)
        request.session.set_expiry(sign_in().session_hours * 3_600)
        record_provider_session(request)
    return response


def require_recent_authentication(request: HttpRequest) -> None:
    """Raise allauth's ReauthenticationRequired, whose middleware asks for the password."""
    raise_if_reauthentication_required(request, app="")


def record_provider_session(request: HttpRequest) -> None:
    """Let logout tokens find the session, if it began at the provider. Again whenever its key has changed."""
    begun = request.session.get(_BEGUN)
    if begun is not None:
        UserSession.objects.filter(session_key=request.session.session_key).update(data=begun)


def end_session(actor: Any, session: UserSession) -> None:
    _end(staff_actor(actor), session)


def end_provider_sessions(asked: LogoutRequest, issuer: str) -> None:
    """End those that a logout token of this issuer names. Where it names a person and their session at the provider,
    those of the person whose ID token had no `sid` end too: they may be of that session.
    """
    found = UserSession.objects.select_related("user").filter(data__issuer=issuer)
    if asked.subject:
        found = found.filter(data__subject=asked.subject)
    if asked.sid:
        named = Q(data__sid=asked.sid)
        found = found.filter(named | Q(data__sid="") if asked.subject else named)
    for session in found:
        _end(f"provider:{asked.subject or asked.sid} at {issuer}", session)


def _end(actor: str, session: UserSession) -> None:
    session.end()
    after = {"user": session.user.get_username(), "address": session.ip}
    record_operation(actor, "account.session_ended", after=after)
