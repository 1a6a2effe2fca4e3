"""Routes that nobody calls, and API keys that nobody uses."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Min, Q
from django.utils import timezone

from metrics import selectors
from metrics.advice.drafts import is_possible
from metrics.advice.records import Advice, Change, Configuration, Draft, Topic
from metrics.models import DailyUsage
from metrics.usage.days import local_date
from metrics.usage.selectors import today
from routing.models import ApiKey, ConfigurationRevision

DAYS: Final = 30
MIN_DAYS: Final = 14
"""Days that must have been counted before a route is called unused."""
KEY_DAYS: Final = 100
"""So that the key of a job that runs once a quarter is not called unused."""
MAX_KEYS: Final = 100
"""Keys that are listed, those that were made first."""


def unused_routes(document: Configuration) -> Iterator[Advice]:
    """Routes without a request in DAYS, if they are as old. Raises DatabaseError."""
    if not settings.CONFIG.metering.enabled:
        return
    last = today()
    since = last - timedelta(days=DAYS - 1)
    counted = DailyUsage.objects.filter(day__gte=since).aggregate(first=Min("day"))["first"]
    known, paths = _earlier_paths(since)
    begin = max(since, counted or last, known or last)
    days = (last - begin).days
    if days < MIN_DAYS:
        return
    used = set(DailyUsage.objects.filter(day__gte=begin).values_list("service", "route").distinct())
    for name, service in selectors.configured_services().items():
        for path in dict.fromkeys(route.path for route in service.routes if route.policy.enabled):
            if (name, path) not in used and path in paths:
                draft = Draft(change=Change.DISABLE, service=name, route=path)
                yield Advice(
                    topic=Topic.ROUTE,
                    service=name,
                    subject=path,
                    text=f"No request in {days} days. Disabled, it is answered with 503, and keeps its restrictions.",
                    draft=draft if is_possible(draft, document) else None,
                    label="Disable",
                )


def unused_keys() -> Iterator[Advice]:
    """Active keys that are older than KEY_DAYS and were not used since. Raises DatabaseError."""
    now = timezone.now()
    since = now - timedelta(days=KEY_DAYS)
    keys = ApiKey.objects.filter(revoked_at=None, created_at__lt=since).select_related("consumer")
    unused = keys.filter(Q(last_used_at=None) | Q(last_used_at__lt=since))
    for key in unused.exclude(expires_at__lte=now).order_by("created_at")[:MAX_KEYS]:
        yield Advice(
            topic=Topic.KEY,
            service="",
            subject=str(key),
            text=_text(key),
            draft=Draft(change=Change.REVOKE, key=key.prefix),
            label="Revoke",
        )


def _text(key: ApiKey) -> str:
    used = "Never used" if key.last_used_at is None else f"Last used {_day(key.last_used_at)}"
    holder = key.holder if key.holder.startswith("created by ") else key.holder and f"of {key.holder}"
    return "; ".join(part for part in (f"{used}, made {_day(key.created_at)}", holder) if part) + "."


def _day(at: datetime) -> str:
    return f"{at:%-d %b %Y}"


def _earlier_paths(since: date) -> tuple[date | None, frozenset[str]]:
    """The paths of routes that were configured on a day, or later if the history begins later, and that day.

    They are read from the lines of the revision's text: to parse it would take a second for a large one.
    """
    before = ConfigurationRevision.objects.filter(created_at__date__lte=since).order_by("-pk").first()
    revision = before or ConfigurationRevision.objects.order_by("pk").first()
    if revision is None:
        return None, frozenset()
    lines = (line.strip().removeprefix("- ") for line in revision.document.splitlines())
    paths = frozenset(line[len("path: ") :].strip("'\"") for line in lines if line.startswith("path: "))
    zone = settings.CONFIG.metering.timezone
    return max(since, local_date(revision.created_at.timestamp(), zone)), paths
