"""The tables that grow, and which of their rows have expired."""

import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Least

from metrics.models import (
    Aggregate,
    AlertMessage,
    AlertSilence,
    Batch,
    CircuitChange,
    DailyUsage,
    Operation,
    TimeResolution,
)
from metrics.retention.policy import Retention, RetentionLimit
from metrics.usage.days import local_date
from routing.database.api_keys import KEPT as RETIRED_KEPT
from routing.database.failed_deliveries import MAX_AGE as FAILED_KEPT
from routing.models import (
    ApiKey,
    ConfigurationRevision,
    FailedDelivery,
    PendingConnection,
    PlanRequest,
    QuotaUsage,
    RetiredSecret,
    Revocation,
)
from routing.pages.site import is_included

Rows = QuerySet[Any]
BATCH_KEPT: Final = timedelta(days=1)
"""How long the ids of applied batches are kept: longer than any store may offer one again."""
OWN_APPS: Final = ("metrics", "routing")
QUOTA_KEPT: Final = timedelta(days=31)
"""How long a quota's row is kept after the end of its period. A missing row means a new period."""


class UsageRetention(NamedTuple):
    """`days` are those of METERING_RETENTION. Rows that are still to become events are kept if `has_events`."""

    days: int
    timezone: ZoneInfo
    has_events: bool


class GrowingTable(NamedTuple):
    """`expired` are the rows that are too old at a moment. Of `rows`, those beyond the latest `limit.rows` are deleted
    too. `kept` says the same in words. `is_observed`: signals are sent for deletions.
    """

    name: str
    rows: Rows
    expired: Callable[[datetime], Rows]
    kept: str
    limit: RetentionLimit = RetentionLimit()
    is_observed: bool = False


def growing_tables(retention: Retention, usage: UsageRetention) -> Iterator[GrowingTable]:
    """Those of RETENTION, and those whose rows end by themselves. Rows of another team's project are kept."""
    yield from _counted(retention)
    yield from _recorded(retention)
    yield _usage(usage)
    yield from _ending()
    if not is_included():
        yield from _signed_in()


def _counted(retention: Retention) -> Iterator[GrowingTable]:
    for name, resolution in (
        ("minutes", TimeResolution.MINUTE),
        ("hours", TimeResolution.HOUR),
        ("days", TimeResolution.DAY),
        ("route_minutes", TimeResolution.ROUTES_TEN_MINUTES),
        ("route_days", TimeResolution.ROUTES_DAY),
    ):
        rows: Rows = Aggregate.objects.filter(resolution=resolution)
        yield _aged(name, rows, "start", retention, lambda moment: int(moment.timestamp()))


def _recorded(retention: Retention) -> Iterator[GrowingTable]:
    yield _aged("circuit_changes", CircuitChange.objects.all(), "at", retention)
    sent: Rows = AlertMessage.objects.exclude(state=AlertMessage.State.WAITING)
    yield _aged("alerts", sent, "created_at", retention, lambda moment: moment.timestamp())
    yield _aged("audit_log", Operation.objects.all(), "at", retention)
    yield _aged("admin_log", _admin_log(), "action_time", retention)
    yield _aged("history", ConfigurationRevision.objects.exclude(pk=_latest_revision()), "created_at", retention)
    decided: Rows = PlanRequest.objects.exclude(state=PlanRequest.State.PENDING)
    yield _aged("plan_requests", decided, "decided_at", retention)
    ended: Rows = ApiKey.objects.annotate(
        ended_at=Least(Coalesce("revoked_at", "expires_at"), Coalesce("expires_at", "revoked_at"))
    )
    yield _aged("keys", ended, "ended_at", retention)._replace(is_observed=True)


def _admin_log() -> Rows:
    """In another team's project, only the entries about the gateway's own rows."""
    entries: Rows = LogEntry.objects.all()
    return entries.filter(content_type__app_label__in=OWN_APPS) if is_included() else entries


def _latest_revision() -> Any:
    """The next change is compared with it, however old it is."""
    return ConfigurationRevision.objects.order_by("-pk").values("pk")[:1]


def _usage(usage: UsageRetention) -> GrowingTable:
    def expired(now: datetime) -> Rows:
        first = local_date(now.timestamp(), usage.timezone) - timedelta(days=usage.days)
        rows: Rows = DailyUsage.objects.filter(day__lt=first)
        return rows.filter(is_emitted=True) if usage.has_events else rows

    return GrowingTable("usage", DailyUsage.objects.all(), expired, f"{usage.days}d (METERING_RETENTION)")


def _ending() -> Iterator[GrowingTable]:
    yield GrowingTable(
        "silences",
        AlertSilence.objects.all(),
        lambda now: AlertSilence.objects.filter(ends_at__lt=now.timestamp()),
        "until they end",
    )
    yield _ended("failed_deliveries", FailedDelivery, "failed_at", FAILED_KEPT, "7d")
    yield _ended("batches", Batch, "at", BATCH_KEPT, "1d")
    yield _ended("connections", PendingConnection, "expires_at", timedelta(0), "until they end")
    yield _ended("revocations", Revocation, "until", timedelta(0), "until they end")
    yield _ended("retired_secrets", RetiredSecret, "valid_until", RETIRED_KEPT, "30d after their end")
    yield GrowingTable(
        "quotas",
        QuotaUsage.objects.all(),
        lambda now: QuotaUsage.objects.filter(ends__gt=0, ends__lt=int((now - QUOTA_KEPT).timestamp())),
        "31d after the period",
    )


def _signed_in() -> Iterator[GrowingTable]:
    yield _ended("sessions", Session, "expire_date", timedelta(0), "until they end")
    if apps.is_installed("allauth.usersessions"):
        from allauth.usersessions.models import UserSession  # noqa: PLC0415 - installed only if staff sign in with it

        sessions = UserSession.objects
        yield GrowingTable(
            "user_sessions",
            sessions.all(),
            # A session is written after the page that begins it: leave it the time.
            lambda now: sessions.filter(last_seen_at__lt=now - timedelta(hours=1)).exclude(
                session_key__in=Session.objects.values("session_key")
            ),
            "as long as their sessions",
        )


def _aged(
    name: str, rows: Rows, field: str, retention: Retention, bound: Callable[[datetime], object] = lambda moment: moment
) -> GrowingTable:
    limit = retention[name]

    def expired(now: datetime) -> Rows:
        if math.isinf(limit.seconds):
            return rows.none()
        return rows.filter(**{f"{field}__lt": bound(now - timedelta(seconds=limit.seconds))})

    return GrowingTable(name, rows, expired, str(limit), limit)


def _ended(name: str, model: Any, field: str, kept: timedelta, words: str) -> GrowingTable:
    def expired(now: datetime) -> Rows:
        rows: Rows = model._base_manager.filter(**{f"{field}__lt": now - kept})
        return rows

    return GrowingTable(name, model._base_manager.all(), expired, words)
