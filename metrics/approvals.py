"""Approval of changes at their entry points: the admin's pages and the configuration API."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from django.contrib import messages
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from metrics.audit import record_operation
from routing.admin.settings_admin import MAX_COMMENT
from routing.configuration_errors import NotProposable, TooManyProposals
from routing.database import proposals
from routing.database.actor import commenting
from routing.database.proposals import Proposed
from routing.models import ConfigurationProposal
from routing.pages.messages import SHOWN_ONCE, discard_messages
from routing.pages.rendering import ViewFunction
from routing.pages.site import admin_url
from routing.rights import Right, is_any, services

T = TypeVar("T")
_DECIDES: Final = "decides_proposals"
_API: Final = "cls"
"""An attribute of REST framework's view functions."""


def decides_proposals(view: T) -> T:
    """Mark a view that makes changes which were approved: of a proposal, or for a consumer whose members use it."""
    setattr(view, _DECIDES, True)
    return view


class ChangeProposed(Exception):
    """The change of a request to the API waits for approval."""

    def __init__(self, proposal: ConfigurationProposal) -> None:
        super().__init__(str(proposal))
        self.proposal = proposal


def submitted(change: Callable[[], T], user: Any, *, whole: bool = True) -> T:
    """Make the change, and return what `change` returns. `whole`: all teams and consumers are compared; otherwise only
    those whose signals were sent.

    Raises ChangeProposed, TooManyProposals and NotProposable.
    """
    result = proposals.submit(change, user, whole=whole)
    if isinstance(result, Proposed):
        record_proposal(result.proposal)
        raise ChangeProposed(result.proposal)
    return result


def waiting_for(user: Any) -> int:
    """How many changes wait that the user may decide; 0 while the database is unavailable."""
    names = services(user, Right.CONFIGURE)
    if not proposals.is_required() or not is_any(names):
        return 0
    rows = ConfigurationProposal.objects.filter(state=ConfigurationProposal.State.WAITING)
    try:
        return (rows if names is None else rows.filter(service__in=names)).count()
    except (DatabaseError, InterfaceError):
        return 0


class ApprovalMiddleware:
    """`reviewed` for all pages. Must come after ActorMiddleware and MessageMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: ViewFunction, arguments: Any, keywords: Any
    ) -> HttpResponseBase | None:
        return reviewed(request, view, arguments, keywords) if may_propose(request, view) else None


def may_propose(request: HttpRequest, view: ViewFunction) -> bool:
    """Whether it is a page of staff that may change the configuration, and approval is required. The API's views submit
    their changes themselves.
    """
    return (
        request.method == "POST"
        and proposals.is_required()
        and request.user.is_authenticated
        and not hasattr(view, _API)
        and not hasattr(view, _DECIDES)
    )


def reviewed(request: HttpRequest, view: ViewFunction, arguments: Any, keywords: Any) -> HttpResponseBase:
    """The view's response or, if what it has changed in the configuration waits for approval, one that says so."""
    try:
        with commenting(request.POST.get("_comment", "")[:MAX_COMMENT].strip()):
            result = proposals.submit(lambda: view(request, *arguments, **keywords), request.user)
    except (TooManyProposals, NotProposable) as error:
        messages.error(request, f"Not changed: {error}.")
        return redirect(request.get_full_path())
    return _held_back(request, result) if isinstance(result, Proposed) else result


def _held_back(request: HttpRequest, result: Proposed[HttpResponseBase]) -> HttpResponseBase:
    """Lead to the proposal, without the view's message that the change was made. A new key's secret, which is shown
    once, is valid as soon as the proposal is approved.
    """
    record_proposal(result.proposal)
    discard_messages(request, but=SHOWN_ONCE)
    messages.info(request, "Nothing has changed yet: somebody else who may configure the gateway has to approve it.")
    page = admin_url("routing_configurationproposal_change", result.proposal.pk)
    if result.result.headers.get("Content-Type", "").startswith("application/json"):
        return JsonResponse({"location": page})
    return redirect(page)


def record_proposal(proposal: ConfigurationProposal) -> None:
    record_operation(
        proposal.author, "configuration.propose", after={"proposal": proposal.pk, "parts": list(proposal.parts)}
    )
