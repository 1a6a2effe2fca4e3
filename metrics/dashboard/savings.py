"""The report of what caching has saved: a page that can be printed."""

import contextlib
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics import selectors
from metrics.dashboard.range_forms import RangeForm
from metrics.dashboard.usage_figures import long_duration, share
from metrics.dashboard.views import services_page, shown
from metrics.savings import report
from metrics.savings.report import MAX_MONTHS, Month, Savings, SavingsReport
from routing.pages.rendering import render

DEFAULT_MONTHS: Final = 12


class MonthField(forms.CharField):
    def clean(self, value: Any) -> Month | None:
        text = super().clean(value)
        try:
            return Month.parse(text) if text else None
        except ValueError:
            raise forms.ValidationError(_("Enter a month such as 2026-01.")) from None


class SavingsForm(RangeForm):
    start = MonthField(required=False, max_length=20)
    end = MonthField(required=False, max_length=20)
    out_of_order = gettext_lazy("The first month must not be after the last one.")

    def months(self) -> tuple[Month, Month]:
        """The first and the last month: by default twelve until now, and never more than MAX_MONTHS."""
        now = Month.at(selectors.now())
        last = min(self.cleaned_data.get("end") or now, now)
        first = self.cleaned_data.get("start") or last.earlier(DEFAULT_MONTHS - 1)
        return min(max(first, last.earlier(MAX_MONTHS - 1)), last), last


@services_page
def savings_page(request: HttpRequest) -> HttpResponse:
    """`?start=&end=`. An invalid value is shown with its error, and left out of the query."""
    form = SavingsForm(request.GET)
    form.is_valid()
    first, last = form.months()
    found: SavingsReport | None = None
    with contextlib.suppress(DatabaseError, InterfaceError):
        found = report.report(first, last, shown(request))
    context = {
        "page": "savings",
        "form": form,
        "first": first,
        "last": last,
        "found": found,
        "total": _figures(found.total) if found else None,
        "months": _months(found) if found else [],
        "services": _services(found) if found else [],
        "download": urlencode({"from": str(first), "to": str(last)}),
        "made_at": date_format(datetime.fromtimestamp(selectors.now(), UTC), "DATETIME_FORMAT"),
    }
    return render(request, "dashboard/savings.html", context)


def _months(found: SavingsReport) -> list[dict[str, Any]]:
    """Each month with its services, those that saved most calls first."""
    rows = sorted(found.rows, key=lambda row: -row.calls)
    return [
        {
            "id": f"month-{month.month}",
            "title": date_format(Month.parse(month.month).first_day, "F Y"),
            "rows": [_figures(row) for row in rows if row.month == month.month],
            **_figures(month),
        }
        for month in found.months
    ]


def _services(found: SavingsReport) -> list[dict[str, Any]]:
    """The sums of all months, those that saved most calls first."""
    names = dict.fromkeys(row.service for row in found.rows)
    sums = [report.total([row for row in found.rows if row.service == name], service=name) for name in names]
    return [_figures(row) for row in sorted(sums, key=lambda row: -row.calls)]


def _figures(row: Savings) -> dict[str, Any]:
    return {
        "service": row.service,
        "requests": row.requests,
        "calls": row.calls,
        "share": share(row.calls, row.requests),
        "time": long_duration(row.seconds),
        "usd": row.usd,
    }
