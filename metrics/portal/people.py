"""The members of a consumer. Managers invite others and remove them."""

from typing import Final

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from metrics.portal.access import MemberRequest, manager_page, member_page
from metrics.portal.forms import InvitationForm
from metrics.request_rates import exceeds
from routing.database.members import NotPossible, invite, new_link
from routing.models import Member

INVITATION_RATE: Final = "20/h"
"""Links that the managers of one consumer may create."""


@member_page
@require_safe
def members_page(request: MemberRequest) -> HttpResponse:
    return _members_page(request, InvitationForm())


@manager_page
@require_POST
def invite_member(request: MemberRequest) -> HttpResponse:
    form = InvitationForm(request.POST)
    if not form.is_valid() or _too_many(request, form):
        return _members_page(request, form)
    try:
        member, secret = invite(request.member.consumer, form.cleaned_data["email"], form.cleaned_data["role"])
    except NotPossible as reason:
        form.add_error(None, str(reason))
        return _members_page(request, form)
    except ValidationError as error:
        form.add_error(None, error.messages)
        return _members_page(request, form)
    return _link_page(request, member, secret)


@manager_page
@require_POST
def renew_invitation(request: MemberRequest, number: int) -> HttpResponse:
    """Another link for somebody who has not joined. Passwords are reset by staff: managers enter no accounts."""
    member, form = _member(request, number), InvitationForm()
    if member.user_id is not None or _too_many(request, form):
        return _members_page(request, form)
    return _link_page(request, member, new_link(member))


@manager_page
@require_POST
def remove_member(request: MemberRequest, number: int) -> HttpResponse:
    member = _member(request, number)
    if member.pk == request.member.pk:
        messages.error(request, _("You cannot remove yourself: another manager can."))
    else:
        member.delete()
        text = _("%(person)s has been removed. Keys that they created stay valid.") % {"person": member.email}
        messages.success(request, text)
    return redirect("portal:members")


def _members_page(request: MemberRequest, form: InvitationForm) -> HttpResponse:
    now = timezone.now()
    members = [{"row": row, "state": row.state(now)} for row in request.member.consumer.members.all()]
    return render(request, "portal/members.html", {"page": "members", "members": members, "form": form})


def _link_page(request: MemberRequest, member: Member, secret: str) -> HttpResponse:
    link = request.build_absolute_uri(reverse("portal:invitation", args=[secret]))
    return render(request, "portal/link.html", {"page": "members", "invited": member, "link": link})


def _member(request: MemberRequest, number: int) -> Member:
    """Raises Http404 for a member of another consumer."""
    member = request.member.consumer.members.filter(pk=number).first()
    if member is None:
        raise Http404
    return member


def _too_many(request: MemberRequest, form: InvitationForm) -> bool:
    consumer = str(request.member.consumer_id)
    if not exceeds(request, "portal.invitations", lambda *_: consumer, INVITATION_RATE, count=True):
        return False
    form.errors.setdefault("__all__", form.error_class([_("Too many invitations within an hour. Try again later.")]))
    return True
