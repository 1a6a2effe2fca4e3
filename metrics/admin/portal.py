"""The people of consumers, whom staff invite to the portal, and their requests for other plans."""

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from metrics.audit import staff_actor
from routing.admin.guarded_form import GuardedFieldsets, GuardedForm
from routing.admin.rights import RightsMixin
from routing.database import plan_requests
from routing.database.members import NotPossible, invite, new_link
from routing.database.startup_file import ORIGIN
from routing.models import Member, PlanRequest
from routing.pages.names import with_name
from routing.pages.site import admin_site


@admin.register(Member, site=admin_site())
class MemberAdmin(GuardedFieldsets, RightsMixin, ModelAdmin):
    form = GuardedForm
    list_display = ("email", "consumer", "role", "state", "invited_by", "joined_at")
    list_filter = ("role",)
    list_select_related = ("consumer", "user")
    search_fields = ("email", "consumer__name")
    autocomplete_fields = ("consumer",)
    fields = ("consumer", "email", "role", "state_name", "invited_by", "invited_at", "joined_at")
    readonly_fields = ("state_name", "invited_by", "invited_at", "joined_at")
    actions = ("create_links",)
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The account of a member is that of their address, at this consumer."""
        own = super().get_readonly_fields(request, obj)
        return (*own, "consumer", "email") if obj is not None else own

    @display(description=_("state"), label={"joined": "success", "invited": "info", "expired": "warning"})
    def state(self, member: Member) -> tuple[str, str]:
        return with_name(member.state(timezone.now()) if member.pk else "\u2013")

    @admin.display(description=_("state"))
    def state_name(self, member: Member) -> str:
        return str(self.state(member)[1])

    def save_model(self, request: HttpRequest, obj: Member, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        try:
            member, secret = invite(obj.consumer, obj.email, obj.role)
        except NotPossible as reason:
            self.message_user(request, str(reason), messages.ERROR)
            return
        obj.pk = member.pk
        _show_link(request, member, secret)

    @admin.action(description=_("New link: to join, or to set another password"), permissions=("change",))
    def create_links(self, request: HttpRequest, queryset: "models.QuerySet[Member]") -> None:
        for member in queryset:
            if member.user is not None and member.user.is_staff:
                text = gettext("%(member)s: the password of staff is not set with a link.") % {"member": member}
                self.message_user(request, text, messages.ERROR)
                continue
            _show_link(request, member, new_link(member))
            self.log_change(request, member, "New link.")


class DecisionForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """The approver chooses the plan, which may differ from the one requested."""

    decision = forms.ChoiceField(
        label=_("Decision"),
        choices=[("", _("not yet")), ("approve", _("approve")), ("refuse", _("refuse"))],
        required=False,
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        # Without the field, the request has been decided since the page was opened, which saving says.
        if data.get("decision") == "approve" and "plan" in self.fields and not data.get("plan"):
            raise ValidationError({"plan": _("Choose the plan that the consumer gets.")})
        return data


@admin.register(PlanRequest, site=admin_site())
class PlanRequestAdmin(RightsMixin, ModelAdmin):
    form = DecisionForm
    list_display = ("consumer", "current_plan", "plan", "state", "requested_by", "requested_at", "decided_by")
    list_filter = ("state",)
    list_select_related = ("consumer__plan", "plan")
    search_fields = ("consumer__name", "requested_by")
    autocomplete_fields = ("plan",)
    fieldsets = (
        (None, {"fields": ("consumer", "current_plan", "requested_by", "requested_at", "reason", "state")}),
        (_("Decision"), {"fields": ("plan", "note", "decision", "decided_by", "decided_at")}),
    )
    readonly_fields = (
        *("consumer", "current_plan", "requested_by", "requested_at", "reason", "state"),
        *("decided_by", "decided_at"),
    )
    actions = ("approve_requests", "refuse_requests")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        own = super().get_readonly_fields(request, obj)
        return own if obj is None or obj.state == PlanRequest.State.PENDING else (*own, "plan", "note")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Without the decision, if it was made already or this user may not make it."""
        sections = super().get_fieldsets(request, obj)
        if obj is None or (obj.state == PlanRequest.State.PENDING and self.has_change_permission(request, obj)):
            return sections
        (_name, first), (title, second) = sections
        fields = tuple(name for name in second["fields"] if name != "decision")
        return ((None, first), (title, {"fields": fields}))

    @display(
        description=_("state"),
        label={"pending": "info", "approved": "success", "refused": "danger", "withdrawn": "warning"},
    )
    def state(self, request: PlanRequest) -> tuple[str, str]:
        return with_name(str(request.state))

    @admin.display(description=_("present plan"))
    def current_plan(self, request: PlanRequest) -> str:
        consumer = request.consumer
        return str(consumer.plan or (consumer.team.plan if consumer.team else None) or "\u2013")

    def save_model(self, request: Any, obj: PlanRequest, form: Any, change: bool) -> None:  # noqa: ARG002 - Django's signature
        decision, note, user = form.cleaned_data.get("decision"), obj.note, staff_actor(request.user)
        request.is_decided = False
        if not decision:
            self.message_user(request, gettext("No decision was chosen: the request still waits."), messages.WARNING)
            return
        try:
            if decision == "approve" and obj.plan is not None:
                plan_requests.approve(obj, obj.plan, note, user)
                self._warn_of_file(request, obj)
            else:
                plan_requests.refuse(obj, note, user)
            request.is_decided = True
        except plan_requests.NotPossible as reason:
            self.message_user(request, str(reason), messages.ERROR)

    def response_change(self, request: Any, obj: Any) -> HttpResponse:
        """Django's own, which says that the request was changed, only if it was."""
        return super().response_change(request, obj) if request.is_decided else HttpResponseRedirect(request.path)

    @admin.action(description=_("Approve, with the plan that was asked for"), permissions=("change",))
    def approve_requests(self, request: HttpRequest, queryset: "models.QuerySet[PlanRequest]") -> None:
        self._decide_each(request, queryset, approves=True)

    @admin.action(description=_("Refuse"), permissions=("change",))
    def refuse_requests(self, request: HttpRequest, queryset: "models.QuerySet[PlanRequest]") -> None:
        self._decide_each(request, queryset, approves=False)

    def _decide_each(self, request: HttpRequest, queryset: "models.QuerySet[PlanRequest]", *, approves: bool) -> None:
        user, number = staff_actor(request.user), 0
        for row in queryset:
            try:
                if not approves:
                    plan_requests.refuse(row, row.note, user)
                elif row.plan is None:
                    raise plan_requests.NotPossible(gettext("It names no plan: open it, and choose one."))
                else:
                    plan_requests.approve(row, row.plan, row.note, user)
                    self._warn_of_file(request, row)
                number += 1
            except plan_requests.NotPossible as reason:
                self.message_user(request, f"{row}: {reason}", messages.ERROR)
        self.message_user(request, gettext("%(number)d decided.") % {"number": number})

    def _warn_of_file(self, request: HttpRequest, row: PlanRequest) -> None:
        """GATEWAY_CONFIG is applied again at the next start."""
        if row.consumer.origin == ORIGIN:
            text = gettext(
                "%(consumer)s comes from GATEWAY_CONFIG: change it there too, or the next start sets it back."
            ) % {"consumer": row.consumer}
            self.message_user(request, text, messages.WARNING)


def _show_link(request: HttpRequest, member: Member, secret: str) -> None:
    path = reverse("portal:invitation", args=[secret])
    ends = date_format(member.link_ends, "DATETIME_FORMAT") if member.link_ends else ""
    text = f"The link for {member.email}, shown only this once, and valid once until {ends}: {_address(request)}{path}"
    messages.warning(request, text)


def _address(request: HttpRequest) -> str:
    """The portal's address as far as it is known here: staff may be on another host or port."""
    portal, parts = settings.CONFIG.portal.origin, urlsplit(f"//{request.get_host()}")
    host, port = portal.host or parts.hostname or "", None if portal.host else parts.port
    if portal.host is None and portal.staff.host is not None:
        named = (name for name in settings.CONFIG.allowed_hosts if not name.startswith((".", "*")))
        host = next(named, host)
    if port is not None and port == portal.staff.port:
        port = settings.CONFIG.server.port
    return f"{request.scheme}://{host}" + (f":{port}" if port is not None else "")
