"""The dashboard's pages and the JSON they show. Its operations use the REST API."""

import contextlib
from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import msgspec
from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from metrics import route_figures, selectors
from metrics import services as operations
from metrics.approvals import waiting_for
from metrics.audit import shortened
from metrics.dashboard import live
from metrics.dashboard.objectives import objectives_context
from metrics.incidents.detail import detail
from resilience.outage import StoreUnavailable
from routing.models import Service as ServiceRow
from routing.pages.rendering import render
from routing.pages.site import admin_url
from routing.realtime.limits import MAX_TOPICS_PER_MESSAGE
from routing.rights import Names, Right, is_any, may, needed, require, services
from routing.router.table import Service

View = Callable[..., HttpResponse]

MAX_TRANSITIONS: Final = 100
MAX_OPERATIONS: Final = 10
MAX_TOP_PATHS: Final = 8
MAX_RESULT_LENGTH: Final = 120
"""The most characters that are shown of an operation's result."""
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline and nothing from other hosts. In some browsers 'self' does not include WebSockets."""


def staff_form(view: View) -> View:
    """A page for staff who may view the whole gateway: see `_staff`."""
    return _staff(view)


def services_page(view: View) -> View:
    """A page that only reads, also for staff who may view some services: see `services_form`."""
    return require_safe(services_form(view))


def services_form(view: View) -> View:
    """A page also for staff who may view some services. It shows nothing of others than `shown(request)`."""
    return _staff(view, is_limited=True)


def shown(request: HttpRequest) -> Names:
    """The services that the page may show."""
    return services(request.user, Right.VIEW)


def _staff(view: View, *, is_limited: bool = False) -> View:
    """Require a session of staff who may view the gateway, forbid caching, and set CONTENT_SECURITY_POLICY.

    Templates show the controls of operations if `may_operate` of their request is true, and links to forms if
    `may_configure` is: of the whole gateway, or of the service whose page it is.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not (may(request.user, Right.VIEW) or (is_limited and is_any(shown(request)))):
            raise PermissionDenied(needed(Right.VIEW))
        request.is_limited = shown(request) is not None  # type: ignore[attr-defined] # for the template
        request.may_operate = may(request.user, Right.OPERATE)  # type: ignore[attr-defined] # read by templates
        request.may_configure = may(request.user, Right.CONFIGURE)  # type: ignore[attr-defined] # for the template
        request.needs_approval = settings.CONFIG.approval  # type: ignore[attr-defined] # for the template
        request.may_open_account = settings.CONFIG.sign_in is not None  # type: ignore[attr-defined] # as above
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.format(host=request.get_host())
        response["Cache-Control"] = "private, no-store"
        response["Referrer-Policy"] = "same-origin"
        return response

    return staff_member_required(wrapper)


@services_page
def overview_page(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/overview.html", {"page": "overview", "waiting": waiting_for(request.user)})


@services_page
def events_page(request: HttpRequest) -> HttpResponse:
    """Live events. The page first subscribes to the topics of all services."""
    names = selectors.service_names(shown(request))[:MAX_TOPICS_PER_MESSAGE]
    topics = [f"service:{name}" for name in names]
    return render(request, "dashboard/events.html", {"page": "events", "topics": topics})


@services_page
def service_page(request: HttpRequest, name: str) -> HttpResponse:
    service = _service_or_404(request, name)
    request.may_operate = may(request.user, Right.OPERATE, name)  # type: ignore[attr-defined] # read by the template
    context = {"page": "service", "service": service, "edit_url": _edit_url(name), **objectives_context(name)}
    return render(request, "dashboard/service.html", context)


@services_page
def snapshot_json(request: HttpRequest) -> HttpResponse:
    """The live data for a page whose WebSocket is disconnected."""
    return HttpResponse(live.snapshot(shown(request)), content_type="application/json")


@services_page
def incident_json(request: HttpRequest, name: str) -> HttpResponse:
    """All about a service's incident; null if it has none."""
    _service_or_404(request, name)
    return _json_response(detail(name, is_limited=shown(request) is not None))


@services_page
def routes_json(request: HttpRequest, name: str) -> HttpResponse:
    """The figures of a service's routes: `?period=1h`, of route_figures.PERIODS."""
    _service_or_404(request, name)
    period = request.GET.get("period", route_figures.DEFAULT_PERIOD)
    found = route_figures.read_routes(name, period if period in route_figures.PERIODS else route_figures.DEFAULT_PERIOD)
    return _json_response({"since": found.since, "routes": found.routes})


@services_page
def detail_json(request: HttpRequest, name: str) -> HttpResponse:
    """The data of a service's page that is not in the snapshot."""
    service = _service_or_404(request, name)
    transitions = selectors.circuit_transitions(name, limit=MAX_TRANSITIONS)
    return _json_response(
        {
            "now": selectors.now(),
            "moves": [
                {"at": each.at.timestamp(), "before": each.before, "after": each.after, "reason": each.reason}
                for each in reversed(transitions)
            ],
            "tags": _tags(service),
            "hit": selectors.top_paths(name, limit=MAX_TOP_PATHS),
            "missed": selectors.top_paths(name, limit=MAX_TOP_PATHS, hits=False),
            "operations": [
                {
                    "at": operation.at.timestamp(),
                    "actor": operation.actor,
                    "action": operation.action,
                    "after": shortened(operation.after, MAX_RESULT_LENGTH),
                }
                for operation in selectors.operations(MAX_OPERATIONS, name)
            ],
        }
    )


def _tags(service: Service) -> list[dict[str, Any]]:
    """The tags of the service and its routes, with their numbers of cache entries; tag None is the whole service.

    A number is None if it is unknown: the store is unavailable, or the tag contains a parameter.
    """
    policies = [service.policy, *(route.policy for route in service.routes)]
    tags = sorted({tag for policy in policies if policy.cache for tag in policy.cache.tags} - {service.name})
    return [
        {"tag": tag, "entries": None if tag and "{" in tag else _entry_count(service.name, tag)}
        for tag in [None, *tags]
    ]


def _entry_count(service: str, tag: str | None) -> int | None:
    try:
        return operations.invalidate("", service, tag, dry_run=True)
    except StoreUnavailable:
        return None


def _service_or_404(request: HttpRequest, name: str) -> Service:
    """Raises PermissionDenied before the response reveals whether the service exists."""
    require(request.user, Right.VIEW, name)
    try:
        return selectors.get_service(name)
    except selectors.ServiceNotConfigured:
        raise Http404(f"there is no service {name!r}") from None


def _edit_url(name: str) -> str:
    """The service's page in the admin; the list of services, if it cannot be found in the database."""
    with contextlib.suppress(DatabaseError, InterfaceError):
        if row := ServiceRow.objects.filter(name=name).only("pk").first():
            return admin_url("routing_service_change", row.pk)
    return admin_url("routing_service_changelist")


def _json_response(document: object) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(document), content_type="application/json")
