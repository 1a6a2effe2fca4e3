"""Routes that nobody calls, and API keys that nobody uses."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import Q
from django.utils import timezone

from metrics import cluster_counts, selectors
from metrics.advice.drafts import is_possible
from metrics.advice.records import Advice, ChangedSetting, Configuration, Draft, Topic
from metrics.counting import aggregates
from metrics.counting.counts import with_prefix
from metrics.models import TimeResolution
from resilience.durations import DAY
from routing.models import ApiKey, ConfigurationRevision

DAYS: Final = 30
MIN_DAYS: Final = 14
"""Days of counts without which no route is called unused."""
KEY_DAYS: Final = 100
"""Days without use before a key is called unused: a job may run once a quarter."""
MAX_KEYS: Final = 100
"""The most keys that are listed, the oldest ones."""


def unused_routes(document: Configuration) -> Iterator[Advice]:
    """Routes that have existed for DAYS and had no request in them. Raises DatabaseError."""
    now = selectors.now()
    configured_at, paths = _earlier_paths(now - DAYS * DAY)
    counted_at, used = _used(max(now - DAYS * DAY, configured_at))
    days = int((now - counted_at) // DAY)
    if days < MIN_DAYS:
        return
    for name, service in selectors.configured_services().items():
        for path in dict.fromkeys(route.path for route in service.routes if route.policy.enabled):
            if (name, path) not in used and path in paths:
                draft = Draft(change=ChangedSetting.DISABLE, service=name, route=path)
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
            draft=Draft(change=ChangedSetting.REVOKE, key=key.prefix),
            label="Revoke",
        )


def _text(key: ApiKey) -> str:
    used = "Never used" if key.last_used_at is None else f"Last used {_day(key.last_used_at)}"
    holder = key.holder if key.holder.startswith("created by ") else key.holder and f"of {key.holder}"
    return "; ".join(part for part in (f"{used}, made {_day(key.created_at)}", holder) if part) + "."


def _day(at: datetime) -> str:
    return f"{at:%-d %b %Y}"


def _used(since: float) -> tuple[float, set[tuple[str, str]]]:
    """Services and routes that were called since the beginning of that day, and since when they are counted."""
    now, start = selectors.now(), int(since // DAY) * DAY
    rows = aggregates.iterate_counts(cluster_counts.pending_batches(), TimeResolution.DAY, start, now + 1)
    used: set[tuple[str, str]] = set()
    first = now
    for at, service, fields in rows:
        first = min(first, at)
        used.update((service, labels.split("|", 2)[2]) for labels in with_prefix(fields, "requests"))
    return max(since, first), used


def _earlier_paths(since: float) -> tuple[float, frozenset[str]]:
    """The paths of routes that were configured at that time, or later if the history begins later, and when that was.

    They are read from the lines of the revision's text: to parse it would take a second for a large one.
    """
    before = ConfigurationRevision.objects.filter(created_at__lte=datetime.fromtimestamp(since, UTC)).first()
    revision = before or ConfigurationRevision.objects.order_by("pk").first()
    if revision is None:
        return selectors.now(), frozenset()
    lines = (line.strip().removeprefix("- ") for line in revision.document.splitlines())
    paths = frozenset(line[len("path: ") :].strip("'\"") for line in lines if line.startswith("path: "))
    return max(since, revision.created_at.timestamp()), paths
