"""The data of the history's charts, as JSON and as files."""

import math
from typing import Any, Final, NamedTuple

import msgspec
from django.http import Http404, HttpRequest, HttpResponse

from metrics import selectors
from metrics.charts.markers import read_markers
from metrics.charts.ranges import DEFAULT, MAX_SECONDS, MIN_SECONDS, PRESETS
from metrics.charts.series import Series, read_series, read_week_before
from metrics.charts.table import CHARTS, to_csv
from metrics.dashboard.views import services_page, shown
from routing.rights import Names, Right, require

CURRENT: Final = 1
"""Seconds added to a range that ends now, so that it includes the step that has just begun."""


class _Asked(NamedTuple):
    service: str | None
    start: float
    end: float
    names: Names


@services_page
def history_json(request: HttpRequest) -> HttpResponse:
    """`?service=&range=24h`, or `&from=&to=` in Unix seconds; `&compare=week` adds `before`, a week earlier."""
    asked = _read(request)
    document: dict[str, Any] = {
        "now": selectors.now(),
        "from": asked.start,
        "to": asked.end,
        **_columns(read_series(*asked)),
        "markers": read_markers(*asked),
    }
    if request.GET.get("compare") == "week":
        document["before"] = _columns(read_week_before(*asked))
    return HttpResponse(msgspec.json.encode(document), content_type="application/json")


@services_page
def history_csv(request: HttpRequest, chart: str) -> HttpResponse:
    """The same as a file, of one of the charts."""
    if chart not in CHARTS:
        raise Http404(f"there is no chart {chart!r}")
    asked = _read(request)
    name = f"{asked.service or 'gateway'}-{chart}.csv"
    response = HttpResponse(to_csv(chart, read_series(*asked)), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _columns(series: Series) -> dict[str, Any]:
    columns: dict[str, Any] = msgspec.structs.asdict(series)
    return columns


def _read(request: HttpRequest) -> _Asked:
    """What cannot be read is replaced by the default range. Raises Http404 for an unknown service."""
    service, now = request.GET.get("service") or None, selectors.now()
    if service is not None:
        require(request.user, Right.VIEW, service)
        try:
            selectors.get_service(service)
        except selectors.ServiceNotConfigured:
            raise Http404(f"there is no service {service!r}") from None
    start, end, names = _seconds(request, "from"), _seconds(request, "to"), shown(request)
    if start is None or end is None or end <= start or end <= 0 or start >= now:
        length = PRESETS.get(request.GET.get("range", DEFAULT), PRESETS[DEFAULT])
        return _Asked(service, now + CURRENT - length, now + CURRENT, names)
    end = min(end, now + CURRENT)
    start = max(start, end - MAX_SECONDS, 0.0)
    return _Asked(service, min(start, end - MIN_SECONDS), end, names)


def _seconds(request: HttpRequest, name: str) -> float | None:
    try:
        found = float(request.GET.get(name, ""))
    except ValueError:
        return None
    return found if math.isfinite(found) else None
