"""What a consumer has used, by day and service, and its quotas."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from metrics import quotas
from metrics.portal.access import MemberRequest, member_page
from metrics.runtime_access import running
from metrics.usage.days import local_date
from metrics.usage.selectors import DayUsage, daily_usage
from resilience.outage import StoreUnavailable
from resilience.usage.policy import Per
from routing.models import Consumer

RANGES: Final = (7, 30, 90)
"""The ranges that can be chosen, in days."""
DEFAULT_RANGE: Final = 30
PERIODS: Final[dict[str, Promise]] = {
    Per.HOUR: _("hour"),
    Per.DAY: _("day"),
    Per.WEEK: _("week"),
    Per.MONTH: _("month"),
    Per.YEAR: _("year"),
}


class UsageLine(NamedTuple):
    """The sums of one day, or of one service. `share` is a percentage of the largest number of requests."""

    name: str
    requests: int
    errors: int
    cached: int
    bytes: int
    share: int = 100


@member_page
@require_safe
def usage_page(request: MemberRequest) -> HttpResponse:
    consumer = request.member.consumer
    text = request.GET.get("days", "")
    days = int(text) if text in map(str, RANGES) else DEFAULT_RANGE
    used = usage_of(consumer, days)
    context = {
        "page": "usage",
        "quotas": quotas_of(consumer),
        "ranges": RANGES,
        "days": days,
        "is_metered": settings.CONFIG.metering.enabled,
        "total": _sum("", used),
        "by_service": _lines(used, lambda row: row.service or str(_("no service"))),
        "by_day": sorted(_lines(used, lambda row: row.day.isoformat()), reverse=True),
    }
    return render(request, "portal/usage.html", context)


def usage_of(consumer: Consumer, days: int) -> list[DayUsage]:
    """From the consumer's own days on: an earlier one of the same name is another one."""
    since: date = local_date(consumer.created_at.timestamp(), running().usage.timezone)
    return [row for row in daily_usage(consumer.name, days) if row.day >= since]


def quotas_of(consumer: Consumer) -> list[dict[str, Any]] | None:
    """The consumer's quotas; None if they cannot be read now."""
    try:
        found = quotas.quotas_of(consumer.name)
    except (quotas.UnknownConsumer, StoreUnavailable):
        return None
    return [
        {
            "owner": each.name.partition("-")[0],
            "per": PERIODS[each.per],
            "limit": each.limit,
            "used": each.used,
            "remaining": each.remaining,
            "percent": min(100, 100 * each.used // each.limit) if each.limit else 100,
            "resets_at": datetime.fromtimestamp(each.resets_at, UTC),
        }
        for each in found
    ]


def _lines(used: Iterable[DayUsage], name: Any) -> list[UsageLine]:
    groups: dict[str, list[DayUsage]] = {}
    for row in used:
        groups.setdefault(name(row), []).append(row)
    lines = [_sum(label, rows) for label, rows in groups.items()]
    most = max((line.requests for line in lines), default=0) or 1
    return [line._replace(share=round(100 * line.requests / most)) for line in lines]


def _sum(name: str, rows: Iterable[DayUsage]) -> UsageLine:
    requests = errors = cached = size = 0
    for row in rows:
        requests, errors = requests + row.requests, errors + row.errors
        cached, size = cached + row.cached, size + row.bytes
    return UsageLine(name, requests, errors, cached, size)
