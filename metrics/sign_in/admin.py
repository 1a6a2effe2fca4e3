"""Admin pages of sign-in: sessions, which owners end, identities at the provider, and second factors."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.base.internal.flows import delete_dangling_recovery_codes
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin

from metrics.admin.readonly import ReadOnlyAdmin
from metrics.admin.recorded import RecordedMixin
from metrics.audit import record_operation, staff_actor
from metrics.models import Identity
from metrics.sign_in.sessions import end_session
from routing.rights import Right, may

for _model in (EmailAddress, Authenticator, UserSession):
    admin.site.unregister(_model)


class OwnersAdmin(ReadOnlyAdmin):
    """Shown to those who may configure the gateway."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.CONFIGURE)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return may(request.user, Right.CONFIGURE)


@admin.register(UserSession)
class UserSessionAdmin(OwnersAdmin):
    list_display = ("user", "ip", "user_agent", "created_at", "last_seen_at")
    search_fields = ("user__username", "ip", "user_agent")
    list_select_related = ("user",)
    fields = list_display
    readonly_fields = fields
    actions = ("end",)

    @admin.action(description=_("End these sessions"), permissions=("view",))
    def end(self, request: HttpRequest, queryset: "models.QuerySet[UserSession]") -> None:
        sessions = list(queryset.select_related("user"))
        for session in sessions:
            end_session(request.user, session)
        text = ngettext("%(number)d session has ended.", "%(number)d sessions have ended.", len(sessions))
        self.message_user(request, text % {"number": len(sessions)})


@admin.register(Identity)
class IdentityAdmin(RecordedMixin, OwnersAdmin):
    noun = "account.identity"
    list_display = ("user", "issuer", "subject", "created_at", "last_login")
    search_fields = ("user__username", "issuer", "subject")
    list_select_related = ("user",)
    fields = list_display
    readonly_fields = fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return _is_superuser(request)

    def document_of(self, row: Identity) -> dict[str, Any]:
        return {"user": row.user.get_username(), "issuer": row.issuer, "subject": row.subject}


@admin.register(Authenticator)
class AuthenticatorAdmin(ModelAdmin):
    """Superusers remove the second factor of somebody who has lost it. Secrets are not shown."""

    list_display = ("user", "type", "created_at", "last_used_at")
    search_fields = ("user__username",)
    list_select_related = ("user",)
    fields = list_display
    readonly_fields = fields

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return _is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - as above
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return False

    def delete_model(self, request: HttpRequest, obj: Authenticator) -> None:
        _remove(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: "models.QuerySet[Authenticator]") -> None:
        _remove(request, list(queryset.select_related("user")))


def _remove(request: HttpRequest, rows: list[Authenticator]) -> None:
    """Remove them, and recovery codes that stand for no app any more: they may be lost with the phone."""
    for row in rows:
        row.delete()
        _record_removal(request, row)
    for user in {row.user for row in rows}:
        codes = delete_dangling_recovery_codes(user)
        if codes is not None:
            _record_removal(request, codes)


def _record_removal(request: HttpRequest, row: Authenticator) -> None:
    after = {"user": row.user.get_username(), "type": str(row.type)}
    record_operation(staff_actor(request.user), "account.second_factor_removed", after=after)


def _is_superuser(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.is_active and user.is_staff and user.is_superuser)
