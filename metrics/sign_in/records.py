"""Entries of the audit log about sign-ins: who, how and from where; and changes of how somebody signs in."""

from typing import Any

from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.signals import password_changed
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from metrics.audit import record_operation, staff_actor
from metrics.sign_in.sessions import record_provider_session


def connect_signals() -> None:
    user_logged_in.connect(_signed_in, dispatch_uid="sign_in.signed_in")
    user_logged_out.connect(_signed_out, dispatch_uid="sign_in.signed_out")
    user_login_failed.connect(_refused, dispatch_uid="sign_in.refused")
    password_changed.connect(_password_changed, dispatch_uid="sign_in.password_changed")
    authenticator_added.connect(_factor_added, dispatch_uid="sign_in.factor_added")
    authenticator_removed.connect(_factor_removed, dispatch_uid="sign_in.factor_removed")
    authenticator_reset.connect(_codes_created, dispatch_uid="sign_in.codes_created")


def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    record_provider_session(request)  # that of a password after a sign-in with the provider, in the same browser
    methods = [record["method"] for record in get_authentication_records(request, user)]
    _record(user, "account.signed_in", {"methods": methods, "address": request.META.get("REMOTE_ADDR", "")})


def _signed_out(user: User | None, **_: Any) -> None:
    if user is not None:
        _record(user, "account.signed_out")


def _refused(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Record a wrong password for an account. Unknown names are not recorded: anybody can send them, and some are
    passwords typed into the wrong field.
    """
    name = credentials.get("username")
    user = User.objects.filter(username=name).first() if isinstance(name, str) and "\0" not in name else None
    if user is not None:
        address = "" if request is None else request.META.get("REMOTE_ADDR", "")
        _record(user, "account.refused", {"reason": "wrong password", "address": address})


def _password_changed(request: HttpRequest, user: User, **_: Any) -> None:
    record_provider_session(request)
    _record(user, "account.password_changed")


def _factor_added(user: User, authenticator: Any, **_: Any) -> None:
    _record(user, "account.second_factor_added", {"type": str(authenticator.type)})


def _factor_removed(user: User, authenticator: Any, **_: Any) -> None:
    _record(user, "account.second_factor_removed", {"type": str(authenticator.type)})


def _codes_created(user: User, **_: Any) -> None:
    _record(user, "account.recovery_codes_created")


def _record(user: User, action: str, after: dict[str, Any] | None = None) -> None:
    record_operation(staff_actor(user), action, after=after)
