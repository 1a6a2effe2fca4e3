"""The page of usage: a table by consumer and service, with a range and links to download it."""

from datetime import date, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from django import forms
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics.dashboard.range_forms import DaysForm
from metrics.dashboard.usage_figures import figures
from metrics.dashboard.views import services_page, shown
from metrics.runtime_access import running
from metrics.usage import outbox, selectors
from metrics.usage.selectors import ReportQuery, UsageRow
from routing.pages.rendering import render

DEFAULT_DAYS: Final = 30
MAX_ROWS: Final = 200
"""The most rows that are shown."""
MAX_GROUPS: Final = 20_000
"""The most groups that are read. Those with the most requests are shown."""
GROUPS: Final = (
    ("consumer,service", gettext_lazy("Consumer and service")),
    ("consumer", gettext_lazy("Consumer")),
    ("key", gettext_lazy("API key")),
    ("team", gettext_lazy("Team")),
    ("service", gettext_lazy("Service")),
    ("service,route", gettext_lazy("Service and route")),
    ("consumer,day", gettext_lazy("Consumer and day")),
    ("day", gettext_lazy("Day")),
)
TITLES: Final = {
    "day": gettext_lazy("Day"),
    "key": gettext_lazy("API key"),
    "team": gettext_lazy("Team"),
    "service": gettext_lazy("Service"),
    "route": gettext_lazy("Route"),
}
NONE: Final = {
    "key": gettext_lazy("no API key"),
    "team": gettext_lazy("no team"),
    "service": gettext_lazy("no service"),
    "route": gettext_lazy("other paths"),
}
"""What is shown for an empty value."""


class UsageForm(DaysForm):
    by = forms.ChoiceField(choices=GROUPS, required=False)
    consumer = forms.CharField(required=False, max_length=300)
    service = forms.CharField(required=False, max_length=63)


@services_page
def usage_page(request: HttpRequest) -> HttpResponse:
    """`?start=&end=&by=&consumer=&service=`. An invalid value is shown with its error, and left out of the query."""
    form, today = UsageForm(request.GET), selectors.today()
    form.is_valid()
    query, names = _query(form.cleaned_data, today), shown(request)
    query = msgspec.structs.replace(query, names=names)
    rows, total = [], selectors.EMPTY
    is_available = True
    try:
        selectors.collect()
        rows, total = selectors.report(query), selectors.total(query)
    except (DatabaseError, InterfaceError):
        is_available = False
    rows.sort(key=lambda row: -row.requests)
    columns = [name for name in query.group_by if name != "caller"]
    context = {
        "page": "usage",
        "form": form,
        "groups": GROUPS,
        "query": query,
        "by": form.cleaned_data.get("by") or GROUPS[0][0],
        "zone": str(running().usage.timezone),
        "is_available": is_available,
        "columns": [_("Consumer") if name == "consumer" else TITLES[name] for name in columns],
        "rows": [_row(query.group_by, row) for row in rows[:MAX_ROWS]],
        "number": len(rows),
        "total": figures(total),
        "download": _download(query),
        "has_money": bool(total.money),
        "delivery": _delivery() if is_available and names is None else "",
    }
    return render(request, "dashboard/usage.html", context)


def _delivery() -> str:
    """What is wrong with the delivery of events, if anything is."""
    status = outbox.status()
    if status is None:
        return ""
    waiting, rejected = outbox.backlog(1)
    if status.failures:
        return _("Events are not delivered, and %(number)d wait: %(failure)s.") % {
            "number": waiting,
            "failure": status.failure,
        }
    return _("Some events were rejected by their receiver: see manage.py usage events.") if rejected else ""


def _query(data: dict[str, Any], today: date) -> ReportQuery:
    end: date = data.get("end") or max(today, data.get("start") or today)
    earliest = end - timedelta(days=min(DEFAULT_DAYS - 1, (end - date.min).days))
    filters = {name: data[name] for name in ("consumer", "service") if data.get(name)}
    group_by = selectors.expand_groups((data.get("by") or GROUPS[0][0]).split(","))
    return ReportQuery(
        start=data.get("start") or earliest, end=end, group_by=group_by or (), filters=filters, limit=MAX_GROUPS
    )


def _row(group_by: tuple[str, ...], row: UsageRow) -> dict[str, Any]:
    """The labels of a row, each with its title and what is said below it, and its figures."""
    group = dict(zip(group_by, row.group, strict=True))
    labels = []
    for name, value in group.items():
        if name == "consumer":
            caller = group["caller"]
            below = "" if value else _("no consumer") if caller else _("no credential")
            labels.append({"title": _("Consumer"), "text": value or caller or _("anonymous"), "below": below})
        elif name != "caller":
            labels.append({"title": str(TITLES[name]), "text": value or str(NONE.get(name, "\u2013")), "below": ""})
    return {"labels": labels, **figures(row)}


def _download(query: ReportQuery) -> str:
    """The query of the same report at /metrics/usage, to which a format is added."""
    groups = [name for name in query.group_by if name != "caller"]
    dates = {"from": query.start.isoformat(), "to": query.end.isoformat()}
    return urlencode({**dates, "group_by": ",".join(groups), **query.filters})
