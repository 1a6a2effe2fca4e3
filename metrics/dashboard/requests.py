"""The pages of the request log: a search, and one request with its steps."""

from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from metrics import requests, selectors
from metrics.dashboard.request_rows import TONES, WHY, clock_text, duration_text, request_url, row, status_text
from metrics.dashboard.request_search import read_form
from metrics.dashboard.views import services_page, shown
from metrics.request_log.page_record import PAGE
from metrics.request_log.record import RecordKind, RequestRecord, StepRecord
from metrics.request_log.search import MAX_SCANNED, FoundRecord
from metrics.request_log.store import KEPT_SECONDS, Position
from metrics.timestamps import iso_timestamp
from routing.pages.rendering import render
from routing.rights import Names

ROWS: Final = 100
KEPT_DAYS: Final = KEPT_SECONDS // 86_400


@services_page
def requests_page(request: HttpRequest) -> HttpResponse:
    """`?id=&service=&status=&...&before=`. An id alone leads to the page of its request."""
    form, names = read_form(request.GET), shown(request)
    query, before = form.query(names), _position(request.GET.get("before", ""))
    identifier = query.id
    only_id = type(query)(id=identifier, names=names)
    if identifier and query == only_id and (known := requests.find(identifier, names).records):
        return HttpResponseRedirect(request_url(known[0]))
    found = requests.search(query, before=before, limit=ROWS)
    parameters = request.GET.copy()
    parameters.pop("before", None)
    live = parameters.urlencode()
    if found.next is not None and found.is_shared:
        parameters["before"] = str(found.next)
    context = {
        "page": "requests",
        "form": form,
        "kinds": [(kind.value, WHY[kind]) for kind in RecordKind],
        "services": selectors.service_names(names),
        "rows": [row(each) for each in found.records],
        "is_shared": found.is_shared,
        "is_latest": before is None,
        "searched": MAX_SCANNED,
        "omitted": requests.omitted(),
        "earlier": parameters.urlencode() if "before" in parameters else "",
        "live": live,
        "kept_days": KEPT_DAYS,
    }
    return render(request, "dashboard/requests.html", context)


@services_page
def request_page(request: HttpRequest, identifier: str) -> HttpResponse:
    """`?at=`: which one, of several with the same id; by default the latest."""
    names = shown(request)
    found = requests.find(identifier, names)
    if not found.records:
        context = {"page": "requests", "identifier": identifier, "is_shared": found.is_shared, "kept_days": KEPT_DAYS}
        return render(request, "dashboard/request_missing.html", context, status=404 if found.is_shared else 503)
    at = request.GET.get("at", "")
    chosen = next((each for each in found.records if str(each.position) == at), found.records[0])
    return render(request, "dashboard/request.html", {"page": "requests", **_context(chosen, found.records, names)})


def _context(chosen: FoundRecord, found: list[FoundRecord], names: Names) -> dict[str, Any]:
    record = chosen.record
    is_page = [step.name for step in record.steps] == [PAGE]
    return {
        "record": record,
        "status": status_text(record),
        "tone": TONES[record.kind],
        "why": WHY[record.kind],
        "time": clock_text(record.at),
        "iso": iso_timestamp(record.at),
        "steps": _timeline(record),
        "durations": _durations(record),
        "others": [row(each) for each in found if each is not chosen],
        "curl": requests.as_curl(record),
        "explain": "" if is_page else f"{reverse('explain-request')}?{requests.explain_query(record)}",
        "is_page": is_page,
        "trace": requests.trace_url(settings.CONFIG.trace_url, record),
        "revision": _revision(record) if names is None else None,
        "has_service": bool(record.service) and record.service in selectors.service_names(names),
    }


def _durations(record: RequestRecord) -> str:
    times = {"head": duration_text(record.head), "end": duration_text(record.duration)}
    if record.backend is None:
        return _("header fields after %(head)s, end after %(end)s") % times
    times["backend"] = duration_text(record.backend)
    return _("backend %(backend)s, header fields after %(head)s, end after %(end)s") % times


def _timeline(record: RequestRecord) -> list[dict[str, Any]]:
    """The steps, each with its part of the whole duration in percent."""
    length = max([record.duration, *(step.at for step in record.steps if step.at is not None)]) or 1.0
    lines, start = [], 0.0
    for step in record.steps:
        end = start if step.at is None else max(step.at, start)
        lines.append(_line(step, start / length * 100, end / length * 100, end - start))
        start = end
    return lines


def _line(step: StepRecord, start: float, end: float, took: float) -> dict[str, Any]:
    """A step that took next to no time is shown as a thin line."""
    width = max(end - start, 0.4)
    return {
        "name": step.name,
        "verdict": step.verdict,
        "error": step.error,
        "at": None if step.at is None else duration_text(step.at),
        "took": None if step.at is None else duration_text(took),
        "x": f"{min(start, 100 - width):.2f}",
        "width": f"{width:.2f}",
    }


def _revision(record: RequestRecord) -> Any:
    """The revision in use when the request was recorded; None if unknown, or while the database is unavailable."""
    try:
        return requests.revision_at(record)
    except (DatabaseError, InterfaceError):
        return None


def _position(text: str) -> Position | None:
    try:
        return Position.parse(text)
    except ValueError:
        return None
