"""The dashboard's pages and the JSON they show. Its operations use the REST API."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import msgspec
from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from metrics import route_figures, selectors, services
from metrics.dashboard import live
from metrics.dashboard.objectives import objectives_context
from metrics.incidents.detail import detail
from resilience.outage import StoreUnavailable
from routing.configuration.document import inline
from routing.pages.rendering import render
from routing.realtime.limits import MAX_TOPICS_PER_MESSAGE
from routing.rights import Right, may, require
from routing.router.table import Service

View = Callable[..., HttpResponse]

MAX_TRANSITIONS: Final = 100
MAX_OPERATIONS: Final = 10
MAX_TOP_PATHS: Final = 8
MAX_RESULT_LENGTH: Final = 120
"""Characters of an operation's result."""
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline and nothing from other hosts. In some browsers 'self' does not include WebSockets."""


def staff_page(view: View) -> View:
    """A page that only reads: see `staff_form`."""
    return require_GET(staff_form(view))


def staff_form(view: View) -> View:
    """Require a session of staff who may view the gateway, forbid caching, and set CONTENT_SECURITY_POLICY.

    Templates show the controls of operations if `may_operate` of their request is true, and links to forms if
    `may_configure` is.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        require(request.user, Right.VIEW)
        request.may_operate = may(request.user, Right.OPERATE)  # type: ignore[attr-defined] # read by templates
        request.may_configure = may(request.user, Right.CONFIGURE)  # type: ignore[attr-defined] # for the template
        request.may_open_account = settings.CONFIG.sign_in is not None  # type: ignore[attr-defined] # as above
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY.format(host=request.get_host())
        response["Cache-Control"] = "private, no-store"
        response["Referrer-Policy"] = "same-origin"
        return response

    return staff_member_required(wrapper)


@staff_page
def overview_page(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/overview.html", {"page": "overview"})


@staff_page
def events_page(request: HttpRequest) -> HttpResponse:
    """Live events. The page first subscribes to the topics of all services."""
    names = selectors.service_names()[:MAX_TOPICS_PER_MESSAGE]
    topics = [f"service:{name}" for name in names]
    return render(request, "dashboard/events.html", {"page": "events", "topics": topics})


@staff_page
def service_page(request: HttpRequest, name: str) -> HttpResponse:
    context = {"page": "service", "service": _get_service_or_404(name), **objectives_context(name)}
    return render(request, "dashboard/service.html", context)


@staff_page
def snapshot_json(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """The live data for a page whose WebSocket is disconnected."""
    return HttpResponse(live.snapshot(), content_type="application/json")


@staff_page
def incident_json(request: HttpRequest, name: str) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """All about a service's incident; null if it has none."""
    _get_service_or_404(name)
    return _json_response(detail(name))


@staff_page
def routes_json(request: HttpRequest, name: str) -> HttpResponse:
    """The figures of a service's routes: `?period=1h`, of route_figures.PERIODS."""
    _get_service_or_404(name)
    period = request.GET.get("period", route_figures.DEFAULT_PERIOD)
    found = route_figures.read_routes(name, period if period in route_figures.PERIODS else route_figures.DEFAULT_PERIOD)
    return _json_response({"since": found.since, "routes": found.routes})


@staff_page
def detail_json(request: HttpRequest, name: str) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """The data of a service's page that is not in the snapshot."""
    service = _get_service_or_404(name)
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
                    "after": "" if operation.after is None else inline(operation.after)[:MAX_RESULT_LENGTH],
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
        return services.invalidate("", service, tag, dry_run=True)
    except StoreUnavailable:
        return None


def _get_service_or_404(name: str) -> Service:
    try:
        return selectors.get_service(name)
    except selectors.ServiceNotConfigured:
        raise Http404(f"there is no service {name!r}") from None


def _json_response(document: object) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(document), content_type="application/json")
