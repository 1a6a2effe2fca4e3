"""The admin page for API keys: issue, rotate and revoke them, and see what they are used for."""

from datetime import timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.db import models
from django.forms.widgets import Script
from django.http import HttpRequest
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from routing.admin.fields import HelpTextsMixin
from routing.admin.guarded_form import SEEN
from routing.admin.key_form import KeyForm
from routing.admin.rights import RightsMixin
from routing.authentication.key_form import parse_prefix
from routing.configuration.document import inline
from routing.database.api_keys import issue, revoke, rotate
from routing.models import ApiKey, RetiredSecret
from routing.pages.messages import SHOWN_ONCE
from routing.pages.names import with_name
from routing.pages.site import admin_site

GRACE: Final = timedelta(hours=24)
"""How long the present secret stays valid when a key is rotated here."""


LIMITS: Final = ("limit_rate", ("limit_burst", "limit_concurrency"), "limit_quota")


class ExpiryFilter(admin.SimpleListFilter):
    title = _("expiry")
    parameter_name = "expiry"

    def lookups(self, request: HttpRequest, _model: Any) -> tuple[tuple[str, Any], ...]:  # noqa: ARG002 - Django's signature
        return tuple((str(days), format_lazy(_("within {days} days"), days=days)) for days in (1, 7, 14))

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002 - as above
        if self.value() not in ("1", "7", "14"):
            return queryset
        now = timezone.now()
        until = now + timedelta(days=int(self.value() or 0))
        return queryset.filter(revoked_at=None, expires_at__gt=now, expires_at__lte=until)


@admin.register(ApiKey, site=admin_site())
class ApiKeyAdmin(RightsMixin, HelpTextsMixin, ModelAdmin):
    form = KeyForm
    list_display = ("name", "prefix", "state", "holder", "tenant", "last_used", "created_at", "expires_at")
    list_filter = (ExpiryFilter, "environment")
    list_select_related = ("consumer",)
    search_fields = ("name", "prefix", "owner", "consumer__name")
    autocomplete_fields = ("consumer",)
    fieldsets = (
        (None, {"fields": ("name", "prefix", "owner", "created_by", "consumer", "scopes", "tenant", "expires_at")}),
        (_("Limits"), {"fields": ("environment", "methods", ("ip_allow", "ip_deny"), *LIMITS)}),
        (
            _("Use"),
            {
                "fields": (
                    "last_used_at",
                    "last_used_from",
                    "last_used_service",
                    "rotated_at",
                    "old_secrets",
                    "revoked_at",
                )
            },
        ),
    )
    readonly_fields = (
        "prefix",
        "created_by",
        "rotated_at",
        "old_secrets",
        "revoked_at",
        "last_used_at",
        "last_used_from",
        "last_used_service",
        "shown_limits",
    )
    actions: tuple[Any, ...] = ("rotate_keys", "revoke_keys")

    class Media:
        js = (Script("forms/settings.js", type="module"),)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Those who may only view see limits as the file writes them."""
        found = super().get_fieldsets(request, obj)
        identity, limits, use = found
        if self.has_change_permission(request, obj):
            return ((None, {"fields": (*identity[1]["fields"], SEEN)}), limits, use)
        return (identity, ("Limits", {"fields": ("environment", "shown_limits")}), use)

    @admin.display(description=_("limits"))
    def shown_limits(self, key: ApiKey) -> str:
        values = {"limits": key.limits, "methods": key.methods, "ip": key.ip}
        return (
            inline({name: value for name, value in values.items() if value})
            if any(values.values())
            else gettext("none")
        )

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """A prefix as it is shown, and a whole key, find the key."""
        return super().get_search_results(request, queryset, parse_prefix(search_term) or search_term)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The environment is part of the key's text."""
        own = super().get_readonly_fields(request, obj)
        return (*own, "environment") if obj is not None else own

    @display(
        description=_("state"),
        label={
            "active": "success",
            "expires soon": "warning",
            "disabled": "danger",
            "expired": "danger",
            "revoked": "danger",
        },
    )
    def state(self, key: ApiKey) -> tuple[str, str]:
        now = timezone.now()
        return with_name("expires soon" if key.expires_soon(now) else key.shown_state(now))

    @admin.display(description=_("whose"), ordering="owner")
    def holder(self, key: ApiKey) -> str:
        return key.holder or gettext("unknown")

    @admin.display(description=_("last used"), ordering="last_used_at")
    def last_used(self, key: ApiKey) -> str:
        if key.last_used_at is None:
            return gettext("never")
        where = " ".join(part for part in (key.last_used_service, key.last_used_from) if part)
        return f"{date_format(key.last_used_at, 'DATETIME_FORMAT')} {where}".rstrip()

    @admin.display(description=_("replaced secrets"))
    def old_secrets(self, key: ApiKey) -> str:
        """The replaced secrets: until when each is accepted, and how it was used since."""
        return "; ".join(map(_use, key.retired.all())) or "\u2013"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            messages.warning(
                request,
                _shown_once(gettext("The key of %(name)s, shown only this once:") % {"name": obj.name}, issue(obj)),
                SHOWN_ONCE,
            )

    @admin.action(description=_("Rotate: a new secret, the present one is valid for 24 hours"), permissions=("change",))
    def rotate_keys(self, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
        for key in queryset:
            try:
                new_key = rotate(key, GRACE)
            except ValueError as fault:
                self.message_user(request, f"{key}: {fault}.", messages.ERROR)
                continue
            self.log_change(request, key, "Rotated.")
            text = gettext("The new key of %(name)s, shown only this once:") % {"name": key.name}
            messages.warning(request, _shown_once(text, new_key), SHOWN_ONCE)

    @admin.action(description=_("Revoke"), permissions=("change",))
    def revoke_keys(self, request: HttpRequest, queryset: models.QuerySet[ApiKey]) -> None:
        active = list(queryset.filter(revoked_at=None))
        revoke(active)
        for key in active:
            self.log_change(request, key, "Revoked.")
        self.message_user(request, gettext("%(number)d revoked.") % {"number": len(active)})


def _shown_once(what: str, key: str) -> SafeString:
    """The message with a new key, and a button that copies it."""
    return format_html(
        '{} <code class="break-all">{}</code> <button type="button" class="setting-button" data-copy="{}">{}</button>',
        what,
        key,
        key,
        gettext("Copy"),
    )


def _use(secret: RetiredSecret) -> str:
    end = timezone.localtime(secret.valid_until)
    until = {"time": date_format(end, "DATETIME_FORMAT"), "number": secret.uses}
    text = gettext("valid until %(time)s, %(number)d uses") % until
    if secret.last_used_at is None:
        return text
    last = timezone.localtime(secret.last_used_at)
    used_for = secret.last_used_service or "\u2013"
    use = {"time": date_format(last, "DATETIME_FORMAT"), "address": secret.last_used_from, "service": used_for}
    return text + ", " + gettext("last %(time)s from %(address)s for %(service)s") % use
