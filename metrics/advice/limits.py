"""Limits that nobody reaches: rates of services and routes, and quotas of plans."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from django.db.models import Min, Q, Sum

from metrics import cluster_counts, selectors
from metrics.advice.drafts import is_possible
from metrics.advice.records import Advice, ChangedSetting, Configuration, Draft, Topic
from metrics.advice.words import round_up
from metrics.counting import aggregates
from metrics.counting.counts import with_prefix
from metrics.models import Aggregate, DailyUsage, TimeResolution
from metrics.usage.selectors import today
from resilience.durations import HOUR
from resilience.ratelimit.policy import RatePolicy
from routing.models import Consumer, Plan

RATE_DAYS: Final = 7
QUOTA_DAYS: Final = 31
MIN_QUOTA_DAYS: Final = 14
PERIODS: Final = ("day", "week", "month")
FAR: Final = 4
"""A limit counts as unreached if it is at least this many times what was used."""
ALL: Final = "*"
SPARE: Final = 2
"""A proposed limit is this many times what was used."""


def unreached_rates(document: Configuration) -> Iterator[Advice]:
    """Rates of services and routes that allow one caller, in each window, many times what all callers sent in any hour.

    Then certainly no caller came near the limit, although the requests of each are not counted by the minute.
    """
    for name, item in document["services"].items():
        own = {"": item.get("rate_limit")} | {
            route["path"]: route.get("rate_limit") for route in item.get("routes") or ()
        }
        limits = {path: limit for path, text in own.items() if text and (limit := _rate(text)) is not None}
        if not limits or (peaks := _busiest_hours(name)) is None:
            continue
        for path, limit in limits.items():
            peak = peaks.get(path or ALL, 0)
            if peak and limit.window <= HOUR and limit.limit >= FAR * peak:
                yield _rate_advice(name, path, str(own[path]), peak, document)


def unreached_quotas(document: Configuration) -> Iterator[Advice]:
    """Quotas of plans that are many times what any of their consumers has used."""
    since = today() - timedelta(days=QUOTA_DAYS - 1)
    first = DailyUsage.objects.aggregate(first=Min("day"))["first"]
    if first is None or (today() - max(first, since)).days < MIN_QUOTA_DAYS:
        return
    for plan in Plan.objects.all():
        quotas = (document.get("plans") or {}).get(plan.name, {}).get("quota") or ()
        for per, amount in ((str(quota.get("per")), quota.get("amount")) for quota in quotas):
            if per not in PERIODS or not isinstance(amount, int):
                continue
            most = _most_used(plan, "day" if per == "day" else "", since)
            if most is not None and amount >= FAR * most[1]:
                yield _quota_advice(plan.name, per, amount, most, document)


def _rate(text: Any) -> RatePolicy | None:
    """None for a limit that is invalid: its service is out of service, and must not fail the advice on others."""
    try:
        return RatePolicy.parse(str(text))
    except ValueError:
        return None


def _busiest_hours(service: str) -> Mapping[str, int] | None:
    """The most requests in an hour, by route, and under ALL for the whole service. None if counts do not go back
    RATE_DAYS.
    """
    end = selectors.now()
    start = int(end // HOUR - RATE_DAYS * 24) * HOUR
    first = Aggregate.objects.filter(resolution=TimeResolution.DAY, service=service).aggregate(first=Min("start"))
    if first["first"] is None or first["first"] > start:
        return None
    pending = cluster_counts.pending_batches()
    rows = aggregates.read_counts(pending, TimeResolution.HOUR, start, end + 1, service)
    peaks: defaultdict[str, int] = defaultdict(int)
    for fields in rows.values():
        by_route: Counter[str] = Counter()
        for labels, number in with_prefix(fields, "requests").items():
            by_route[labels.split("|", 2)[2]] += number
        by_route[ALL] = by_route.total()
        for route, number in by_route.items():
            peaks[route] = max(peaks[route], number)
    return peaks


def _most_used(plan: Plan, by_day: str, since: Any) -> tuple[str, int] | None:
    """The consumer that used most of a plan in one day, or in all of QUOTA_DAYS, and its requests. None without any."""
    subscribed = Consumer.objects.filter(Q(plan=plan) | Q(plan=None, team__plan=plan)).values("name")
    rows = DailyUsage.objects.filter(day__gte=since, consumer__in=subscribed)
    groups = rows.values("consumer", *([by_day] if by_day else [])).annotate(number=Sum("requests"))
    most = groups.order_by("-number", "consumer").first()
    return (most["consumer"], most["number"]) if most and most["number"] else None


def _rate_advice(service: str, path: str, written: str, peak: int, document: Configuration) -> Advice:
    limit = RatePolicy.parse(written)
    value = f"{round_up(SPARE * peak)}/{written.partition('/')[2]}"
    draft = Draft(change=ChangedSetting.RATE, service=service, route=path, value=value)
    return Advice(
        topic=Topic.LIMIT,
        service=service,
        subject=f"rate_limit {written}" + (f" of {path}" if path else ""),
        text=(
            f"One caller may send {limit.limit:,} requests where all together sent at most {peak:,} in any hour of "
            f"{RATE_DAYS} days."
        ),
        draft=draft if is_possible(draft, document) else None,
        label=f"Set to {value}",
    )


def _quota_advice(plan: str, per: str, amount: int, most: tuple[str, int], document: Configuration) -> Advice:
    consumer, number = most
    value = round_up(SPARE * number)
    draft = Draft(change=ChangedSetting.QUOTA, plan=plan, per=per, value=str(value))
    period = "on one day" if per == "day" else f"in {QUOTA_DAYS} days"
    return Advice(
        topic=Topic.LIMIT,
        service="",
        subject=f"quota {amount:,} per {per} of plan {plan}",
        text=f"{consumer} has used most of it: {number:,} requests {period}.",
        draft=draft if is_possible(draft, document) else None,
        label=f"Set to {value:,}",
    )
