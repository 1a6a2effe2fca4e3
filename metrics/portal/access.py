"""Who sees a page of the portal: the origin it is served from, and the member that a session is of.

Every page reads the consumer from `request.member`, and nothing else says whose rows it shows.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotFound
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect

from metrics.approvals import decides_proposals
from metrics.runtime_access import running
from routing.database.actor import acting_as
from routing.messages.staff_origin import PortalOrigin
from routing.models import Member
from routing.router.hosts import domain_of

View = Callable[..., HttpResponse]

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere; a call that is tried can only reach this origin."""


class MemberRequest(HttpRequest):
    """A request whose session is of a member of an enabled consumer."""

    member: Member


def is_served(request: HttpRequest) -> bool:
    """Whether the portal is on this host and port, and there is anybody to use it."""
    port = str(request.META.get("SERVER_PORT", ""))
    origin: PortalOrigin = settings.CONFIG.portal.origin
    domain = domain_of(request.META.get("HTTP_HOST", ""))
    return origin.serves(domain, int(port) if port.isdigit() else 0) and running().gateway.live.table.has_members


def public_page(view: View) -> View:
    """A page that needs no session: 404 where the portal is not."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not is_served(request):
            return HttpResponseNotFound("Not Found\n", content_type="text/plain")
        try:
            response = view(request, *args, **kwargs)
        except Http404:
            text = _("There is no such page, or it is not one of your team's.")
            response = render(request, "portal/message.html", {"title": _("Not found"), "text": text}, status=404)
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        response["Cache-Control"] = "private, no-store"
        response["Referrer-Policy"] = "same-origin"
        return response

    return decides_proposals(csrf_protect(wrapper))


def member_page(view: View) -> View:
    """A page of a member's consumer, whose changes are attributed to that member."""

    @wraps(view)
    def wrapper(request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            if request.method == "POST":
                text = _("You were signed out: nothing was changed. Sign in, and send the form again.")
                messages.info(request, text)
            return redirect(f"{reverse('portal:login')}?{urlencode({'next': request.path})}")
        member = member_of(request.user)
        if member is None or not member.consumer.enabled:
            return render(request, "portal/no_access.html", {"member": member}, status=403)
        request.member = member
        with acting_as(actor(request)):
            return view(request, *args, **kwargs)

    return public_page(wrapper)


def manager_page(view: View) -> View:
    """The same for those who may invite others."""

    @wraps(view)
    def wrapper(request: MemberRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.member.is_manager:
            text = _("Only a manager of your team can do this.")
            return render(request, "portal/message.html", {"title": _("Not allowed"), "text": text}, status=403)
        return view(request, *args, **kwargs)

    return member_page(wrapper)


def member_of(user: Any) -> Member | None:
    """The membership of a user; read again for each request, so that a removed member is out at once."""
    if not user.is_authenticated or not user.is_active:
        return None
    return Member.objects.select_related("consumer__plan", "consumer__team__plan").filter(user=user).first()


def actor(request: HttpRequest) -> str:
    """The member's name in the audit log."""
    return f"{MEMBER_PREFIX}{request.user.get_username()}"


MEMBER_PREFIX: Final = "member:"
"""What members' names begin with, where staff's begin with `staff:`."""
