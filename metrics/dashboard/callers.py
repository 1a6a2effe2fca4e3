"""The pages of callers: who uses most, and one caller."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from metrics import selectors as services
from metrics.callers import detail, ranking
from metrics.callers.detail import CallerDetail
from metrics.callers.kinds import CallerName, Kind
from metrics.callers.profile import Profile, profile
from metrics.callers.ranking import By, CallersQuery, Ranked, RankedCaller, Ranking, Sort
from metrics.dashboard.range_forms import DaysForm
from metrics.dashboard.usage_figures import figures, share
from metrics.dashboard.views import services_page, shown
from metrics.quotas import QuotaStatus
from metrics.runtime_access import running
from metrics.usage import selectors
from metrics.usage.selectors import EMPTY, UsageRow
from routing.pages.names import with_name
from routing.pages.rendering import render
from routing.pages.site import admin_url
from routing.rights import Names

DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 400
ROWS: Final = 100
BYS: Final = (
    (By.CALLER, gettext_lazy("Callers")),
    (By.KEY, gettext_lazy("API keys")),
    (By.TEAM, gettext_lazy("Teams")),
)
SORTS: Final = (
    (Sort.REQUESTS, gettext_lazy("Requests")),
    (Sort.ERRORS, gettext_lazy("Errors")),
    (Sort.REFUSED, gettext_lazy("Refused")),
    (Sort.BYTES, gettext_lazy("Bytes")),
    (Sort.BACKEND, gettext_lazy("Backend time")),
    (Sort.MONEY, gettext_lazy("Money")),
    (Sort.LAST_USED, gettext_lazy("Last used")),
)
KINDS: Final = {
    Kind.CONSUMER: gettext_lazy("Consumer"),
    Kind.CALLER: gettext_lazy("Caller"),
    Kind.KEY: gettext_lazy("API key"),
    Kind.TEAM: gettext_lazy("Team"),
}
ADMIN: Final = {Kind.CONSUMER: "consumer", Kind.CALLER: "apikey", Kind.KEY: "apikey", Kind.TEAM: "team"}
LOG: Final = {Kind.CONSUMER: "consumer", Kind.CALLER: "caller", Kind.KEY: "key", Kind.TEAM: "team"}
"""The field of the request log in which a caller of this kind is found."""


class CallerForm(DaysForm):
    def days(self) -> tuple[date, date]:
        """The first and the last day: by default 30 until today, and never more than MAX_DAYS."""
        start, end, today = self.cleaned_data.get("start"), self.cleaned_data.get("end"), selectors.today()
        end = end or max(today, start or today)
        reach = MAX_DAYS if start else DEFAULT_DAYS
        earliest = end - timedelta(days=min(reach - 1, (end - date.min).days))
        return max(start or earliest, earliest), end


class CallersForm(CallerForm):
    by = forms.ChoiceField(choices=BYS, required=False)
    sort = forms.ChoiceField(choices=SORTS, required=False)
    service = forms.CharField(required=False, max_length=63)

    def query(self, names: Names) -> CallersQuery:
        data, (start, end) = self.cleaned_data, self.days()
        return CallersQuery(
            start=start,
            end=end,
            by=By(data.get("by") or By.CALLER),
            sort=Sort(data.get("sort") or Sort.REQUESTS),
            service=data.get("service") or "",
            names=names,
            limit=ROWS,
        )


@services_page
def callers_page(request: HttpRequest) -> HttpResponse:
    """`?by=&sort=&start=&end=&service=`. An invalid value is shown with its error, and left out of the query."""
    form = CallersForm(request.GET)
    form.is_valid()
    query = form.query(shown(request))
    found = Ranking(callers=[], total=EMPTY, currency="", more=False)
    is_available = True
    try:
        selectors.collect()
        found = ranking.ranking(query)
    except (DatabaseError, InterfaceError):
        is_available = False
    context = {
        "page": "callers",
        "form": form,
        "query": query,
        "bys": BYS,
        "zone": str(running().usage.timezone),
        "services": services.service_names(query.names),
        "is_available": is_available,
        "is_metered": settings.CONFIG.metering.enabled,
        "rows": [_row(each, found.total) for each in found.callers],
        "more": found.more,
        "columns": _columns(query),
        "sort_title": _within_a_sentence(dict(SORTS)[query.sort]),
        "currency": found.currency if query.sort is Sort.MONEY else "",
        "has_money": bool(found.currency),
        "download": _download(query),
    }
    return render(request, "dashboard/callers.html", context)


@services_page
def caller_page(request: HttpRequest, kind: str) -> HttpResponse:
    """`?name=&start=&end=`. An empty name is that of callers without a credential."""
    caller = _caller_or_404(kind, request.GET.get("name", ""))
    form = CallerForm(request.GET)
    form.is_valid()
    known, found, names = None, None, shown(request)
    try:
        selectors.collect()
        found, known = detail.caller_detail(caller, *form.days(), names), profile(caller, names)
    except (DatabaseError, InterfaceError):
        away = {"page": "callers", "name": caller.name, "kind": KINDS[caller.kind]}
        return render(request, "dashboard/caller_unavailable.html", away, status=503)
    if not found.is_counted and known is None:
        raise Http404("no such caller is configured, and none was counted")
    context = {
        "page": "callers",
        "form": form,
        "caller": caller,
        "kind": KINDS[caller.kind],
        "title": caller_text(caller, known.key.name if known and known.key else ""),
        "found": found,
        "profile": known,
        "key_state": with_name(known.key.state)[1] if known and known.key else "",
        "total": figures(found.total),
        "last": last_text(found),
        "services": [_service_row(caller, each, found.total) for each in found.services],
        "routes": [_service_row(caller, each, found.total) for each in found.routes],
        "chart": _chart(found.days),
        "members": [_row(each, found.total) for each in found.members],
        "members_title": _("API keys") if caller.kind is Kind.CONSUMER else _("Consumers"),
        "quotas": None if known is None or known.quotas is None else [_quota(each) for each in known.quotas],
        "links": _links(caller, known),
        "zone": str(running().usage.timezone),
        "configured": set(services.service_names(names)),
    }
    return render(request, "dashboard/caller.html", context)


def _within_a_sentence(title: object) -> str:
    """German nouns keep their capital."""
    return str(title).lower() if get_language() == "en" else str(title)


def caller_url(caller: CallerName) -> str:
    return f"{reverse('dashboard:caller', args=(caller.kind,))}?{urlencode({'name': caller.name})}"


def caller_text(caller: CallerName, title: str = "") -> str:
    return title or caller.name or _("anonymous")


def last_text(found: Ranked | CallerDetail) -> str:
    """When a caller was used last: to the minute in UTC, or the day where no more is known."""
    if found.last_at is not None:
        return date_format(found.last_at, "DATETIME_FORMAT")
    return date_format(found.last_day, "DATE_FORMAT") if found.last_day else _("never")


def log_url(caller: CallerName, **fields: str) -> str:
    """The request log with this caller's requests; empty for callers without a credential."""
    if not caller.name:
        return ""
    return f"{reverse('dashboard:requests')}?{urlencode({LOG[caller.kind]: caller.name, **fields})}"


def _caller_or_404(kind: str, name: str) -> CallerName:
    if kind not in KINDS or "\0" in name or (not name and kind != Kind.CALLER):
        raise Http404("there is no such caller")
    return CallerName(Kind(kind), name)


def _row(each: RankedCaller, total: UsageRow) -> dict[str, Any]:
    caller = each.caller
    below = {
        Kind.CONSUMER: "",
        Kind.CALLER: _("no consumer") if caller.name else _("no credential"),
        Kind.KEY: each.consumer or _("no consumer"),
        Kind.TEAM: "",
    }[caller.kind]
    if each.title:
        below = f"{caller.name}, {below}"
    return {
        "text": caller_text(caller, each.title),
        "below": below,
        "url": caller_url(caller),
        "last": last_text(each.found),
        **_shares(each.found.usage, total),
    }


def _service_row(caller: CallerName, each: Ranked, total: UsageRow) -> dict[str, Any]:
    service, route = (*each.usage.group, "")[:2]
    fields = {name: value for name, value in (("service", service), ("route", route)) if value}
    return {
        "service": service,
        "route": route,
        "last": last_text(each),
        "failed": log_url(caller, **fields, kind="failed"),
        "client_errors": log_url(caller, **fields, kind="client_error"),
        **_shares(each.usage, total),
    }


def _shares(row: UsageRow, total: UsageRow) -> dict[str, Any]:
    return {
        **figures(row),
        "share": share(row.requests, total.requests),
        "error_rate": share(row.errors, row.requests),
    }


def _columns(query: CallersQuery) -> list[dict[str, Any]]:
    """The columns by which the table can be sorted."""
    fixed = {"by": query.by.value, "start": query.start.isoformat(), "end": query.end.isoformat()}
    if query.service:
        fixed["service"] = query.service
    return [
        {
            "title": title,
            "name": sort.value,
            "is_sorted": sort is query.sort,
            "query": urlencode({**fixed, "sort": sort}),
        }
        for sort, title in SORTS
    ]


def _download(query: CallersQuery) -> str:
    """The query of the same sums at /metrics/usage, which has all groups."""
    group = {By.CALLER: "consumer", By.KEY: "key", By.TEAM: "team"}[query.by]
    fixed = {"from": query.start.isoformat(), "to": query.end.isoformat(), "group_by": group}
    return urlencode({**fixed, **({"service": query.service} if query.service else {})})


def _chart(days: list[UsageRow]) -> dict[str, Any]:
    """Bars of requests, and in front of them of failed ones, in SVG units: 8 wide, 10 apart, and up to 100 high."""
    most = max((day.requests for day in days), default=0)
    bars = []
    for place, day in enumerate(days):
        height = 100 * day.requests / most if most else 0.0
        failed = 100 * day.errors / most if most else 0.0
        bars.append(
            {
                "day": date.fromisoformat(day.group[0]),
                "x": place * 10 + 1,
                "y": f"{100 - height:.2f}",
                "height": f"{height:.2f}",
                "failed_y": f"{100 - failed:.2f}",
                "failed_height": f"{failed:.2f}",
                **figures(day),
            }
        )
    return {"bars": bars, "width": len(days) * 10, "most": most}


def _quota(quota: QuotaStatus) -> dict[str, Any]:
    percent = 100.0 if not quota.limit else min(100.0, 100 * quota.used / quota.limit)
    return {
        "name": quota.name,
        "limit": quota.limit,
        "used": quota.used,
        "percent": f"{percent:.0f}",
        "tone": "bad" if percent >= 100 else "warn" if percent >= 80 else "",
        "resets": date_format(datetime.fromtimestamp(quota.resets_at, UTC), "DATETIME_FORMAT"),
    }


def _links(caller: CallerName, known: Profile | None) -> list[tuple[str, str]]:
    links = [
        (_("Failed requests"), log_url(caller, kind="failed")),
        (_("Client errors"), log_url(caller, kind="client_error")),
    ]
    if known is not None:
        links.append((_("Edit"), admin_url(f"routing_{ADMIN[caller.kind]}_change", known.row)))
    return [(text, url) for text, url in links if url]
