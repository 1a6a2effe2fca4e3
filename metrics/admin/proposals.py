"""Changes of the configuration that wait for approval, and those that were decided."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from metrics.admin.differences import readable
from metrics.admin.readonly import ServiceReadOnlyAdmin
from metrics.approvals import decides_proposals
from metrics.audit import record_operation, staff_actor
from routing.admin.rights import HiddenColumnsMixin
from routing.configuration.faults import ConfigurationError
from routing.database import proposals
from routing.database.document_diff import diff_of
from routing.database.proposals import NotDecided
from routing.models import ConfigurationProposal
from routing.pages.names import with_name
from routing.pages.rendering import render
from routing.pages.site import admin_site, admin_url
from routing.rights import Right, may


@admin.register(ConfigurationProposal, site=admin_site())
class ConfigurationProposalAdmin(HiddenColumnsMixin, ServiceReadOnlyAdmin):
    """Staff with rights for some services see and decide proposals that are about one of these alone."""

    service_path = "service"
    hidden_columns = ("secrets", "parts")
    list_display = ("number", "created_at", "author", "summary", "comment", "shown_state", "decided_by")
    list_display_links = ("number", "summary")
    list_filter = ("state",)
    search_fields = ("id", "author", "summary", "comment")

    def get_urls(self) -> list[Any]:
        views = {"approve": self.approve, "reject": self.reject}
        own = [
            path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"{name}_proposal")
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    @admin.display(description=_("proposal"), ordering="pk")
    def number(self, proposal: ConfigurationProposal) -> int:
        return int(proposal.pk)

    @display(
        description=_("state"),
        label={"waiting": "warning", "approved": "success", "rejected": "danger", "withdrawn": "info"},
    )
    def shown_state(self, proposal: ConfigurationProposal) -> tuple[str, str]:
        return with_name(proposal.state)

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        proposal = self.row_or_404(request, object_id, Right.VIEW)
        is_waiting = proposal.state == ConfigurationProposal.State.WAITING
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": gettext("Proposal %(number)d") % {"number": proposal.pk},
            "proposal": proposal,
            "changes": readable(diff_of(proposal.differences)),
            "may_decide": is_waiting and may(request.user, Right.CONFIGURE, proposal.service),
            "is_own": proposals.is_own(proposal, request.user, staff_actor(request.user)),
        }
        return render(request, "admin/gateway/proposal.html", context)

    @decides_proposals
    def approve(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST: make the change."""
        self.row_or_404(request, pk, Right.CONFIGURE)
        actor = staff_actor(request.user)
        try:
            if request.method != "POST":
                raise PermissionDenied
            changes = proposals.approve(pk, request.user, actor)
        except NotDecided as error:
            self.message_user(request, str(error), messages.ERROR)
        except ConfigurationError as error:
            text = gettext("Not approved, the change is no longer valid: %(error)s") % {"error": error}
            self.message_user(request, text, messages.ERROR)
        else:
            names = [*changes.created, *changes.updated, *changes.deleted]
            record_operation(actor, "configuration.approve", after={"proposal": pk, "services": names})
            self.message_user(request, gettext("Proposal %(number)d is approved, and in force.") % {"number": pk})
        return redirect(admin_url("routing_configurationproposal_change", pk))

    @decides_proposals
    def reject(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST `reason`: the change will not be made. Its author withdraws it."""
        proposal = self.row_or_404(request, pk, Right.CONFIGURE)
        if request.method != "POST":
            raise PermissionDenied
        actor, reason = staff_actor(request.user), request.POST.get("reason", "").strip()
        try:
            is_author = proposals.is_own(proposal, request.user, actor)
            proposal = proposals.reject(pk, actor, reason, is_author=is_author)
        except NotDecided as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            action = "configuration.withdraw" if is_author else "configuration.reject"
            record_operation(actor, action, after={"proposal": pk, "reason": proposal.reason})
            self.message_user(
                request,
                (
                    gettext("Proposal %(number)d is withdrawn.")
                    if is_author
                    else gettext("Proposal %(number)d is rejected.")
                )
                % {"number": pk},
            )
        return redirect(admin_url("routing_configurationproposal_change", pk))
