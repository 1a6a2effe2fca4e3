"""The staff's pages: an overview, a page per service, and the JSON both are drawn from. What they do goes by REST."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import msgspec
from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from metrics import selectors, services
from metrics.dashboard import live
from metrics.runtime_access import running
from resilience.outage import StoreUnavailable
from routing import runtime
from routing.configuration.document import inline
from routing.realtime.limits import MAX_TOPICS_PER_MESSAGE
from routing.router.table import Service

View = Callable[..., HttpResponse]

RANGES: Final = {"1h": (3_600, 60), "24h": (86_400, 900), "30d": (30 * 86_400, 6 * 3_600)}
"""Each span of a history and its step, in seconds."""
MOVES: Final = 100
"""How many of a circuit's moves its page knows."""
OPERATIONS: Final = 10
PATHS: Final = 8
OUTCOME: Final = 120
"""Characters of what became of an operation."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "connect-src 'self' ws://{host} wss://{host}; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing of anybody else's. The sockets are named: not every browser counts them as 'self'."""


def staff_page(view: View) -> View:
    """For logged-in staff alone, never kept by a cache, under POLICY."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        response["Content-Security-Policy"] = POLICY.format(host=request.get_host())
        response["Cache-Control"] = "private, no-store"
        response["Referrer-Policy"] = "same-origin"
        return response

    return require_GET(staff_member_required(guarded))


@staff_page
def overview(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/overview.html", {"page": "overview"})


@staff_page
def events(request: HttpRequest) -> HttpResponse:
    """Realtime events as they come. It begins with what the services themselves say."""
    topics = [f"service:{name}" for name in sorted(runtime.current().gateway.live.table.services)][
        :MAX_TOPICS_PER_MESSAGE
    ]
    return render(request, "dashboard/events.html", {"page": "events", "topics": topics})


@staff_page
def service(request: HttpRequest, name: str) -> HttpResponse:
    found = _configured(name)
    return render(request, "dashboard/service.html", {"page": "service", "service": found})


@staff_page
def snapshot(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """What the live feed says, for who has to ask."""
    return HttpResponse(live.snapshot(), content_type="application/json")


@staff_page
def history(request: HttpRequest) -> HttpResponse:
    """One service's history, or all services', in columns: `?service=&range=1h|24h|30d`."""
    length, step = RANGES.get(request.GET.get("range", "1h"), RANGES["1h"])
    name = request.GET.get("service") or None
    if name is not None:
        _configured(name)
    end = running().flusher.now() // step * step + step
    points = selectors.history(name, end - length, end, step)
    figures = [point.stats for point in points]
    columns = {
        field: [getattr(each, field) for each in figures] for field in ("requests", "errors", "p50", "p95", "p99")
    }
    # Where nothing was asked of the cache there is no rate, and a line at zero would lie.
    columns["hit_rate"] = [each.hit_rate if each.hits + each.misses else None for each in figures]
    return _json({"step": step, "times": [point.start for point in points], **columns})


@staff_page
def detail(request: HttpRequest, name: str) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """What a service's page shows and the feed does not say."""
    found = _configured(name)
    moves = selectors.circuit_transitions(name, limit=MOVES)
    return _json(
        {
            "now": running().flusher.now(),
            "moves": [
                {"at": move.at.timestamp(), "before": move.before, "after": move.after, "reason": move.reason}
                for move in reversed(moves)
            ],
            "tags": _tags(found),
            "hit": selectors.top_paths(name, limit=PATHS),
            "missed": selectors.top_paths(name, limit=PATHS, hits=False),
            "operations": [
                {
                    "at": done.at.timestamp(),
                    "actor": done.actor,
                    "action": done.action,
                    "after": "" if done.after is None else inline(done.after)[:OUTCOME],
                }
                for done in selectors.operations(OPERATIONS, name)
            ],
        }
    )


def _tags(service: Service) -> list[dict[str, Any]]:
    """The service's own tag and those of its routes, with how many entries have each: None where it is not known."""
    policies = [service.policy, *(route.policy for route in service.routes)]
    tags = sorted({tag for policy in policies if policy.cache for tag in policy.cache.tags} - {service.name})
    return [
        {"tag": tag, "entries": None if tag and "{" in tag else _entries(service.name, tag)} for tag in [None, *tags]
    ]


def _entries(service: str, tag: str | None) -> int | None:
    try:
        return services.invalidate("", service, tag, dry_run=True)
    except StoreUnavailable:
        return None


def _configured(name: str) -> Service:
    found = runtime.current().gateway.live.table.services.get(name)
    if found is None:
        raise Http404(f"there is no service {name!r}")
    return found


def _json(said: object) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(said), content_type="application/json")
