"""Events in the database until they are delivered. Blocks; called in a thread.

A row of usage remembers which of its counts are in events. So the sum of all events is always that of the row, however
late counts come; while events cannot be delivered, counts stay in their rows, and become one event later.
"""

import logging
import random
import secrets
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from django.db import transaction
from django.db.models import Q
from msgspec.structs import astuple

from metrics.models import DailyUsage, UsageDelivery, UsageEvent
from metrics.usage.cloudevents import CloudEvent, EventContext, usage_event
from metrics.usage.days import starts_at
from metrics.usage.record import COUNT_FIELDS, UsageCounts, UsageKey

log = logging.getLogger(__name__)

CHUNK: Final = 500
"""Rows of one transaction."""
MAX_EVENTS: Final = 10_000
"""Events that wait or were rejected, beyond which no others are made."""
LEASE_SECONDS: Final = 15.0
"""How long another worker waits for one that delivers and does not go on."""
MAX_BACKOFF_SECONDS: Final = 300.0
_ROW: Final = 1


class DeliveryStatus(msgspec.Struct, frozen=True):
    """How deliveries have ended: `failures` in a row, why, and when the next one is tried. Times are Unix time."""

    installation: str
    failures: int
    failure: str
    retry_at: float
    delivered_at: float


class Outbox:
    """`interval` is how often events are made, in seconds. Raises DatabaseError."""

    def __init__(self, *, type: str, source: str, timezone: ZoneInfo, interval: float) -> None:  # noqa: A002 - CloudEvents'
        self._type = type
        self._source = source
        self._timezone = timezone
        self._interval = interval

    def claim(self, owner: str, now: float) -> DeliveryStatus | None:
        """Let this worker alone deliver for LEASE_SECONDS; None if another one does.

        A claim that ends much later than that was made with a wrong clock.
        """
        free = Q(claimed_until__lte=now) | Q(owner=owner) | Q(claimed_until__gt=now + 10 * LEASE_SECONDS)
        claimed: dict[str, Any] = {"owner": owner, "claimed_until": now + LEASE_SECONDS}
        if not UsageDelivery.objects.filter(free, pk=_ROW).update(**claimed):
            _, is_new = UsageDelivery.objects.get_or_create(
                pk=_ROW, defaults=claimed | {"installation": secrets.token_hex(8)}
            )
            if not is_new:
                return None
        return status()

    def release(self, owner: str) -> None:
        UsageDelivery.objects.filter(pk=_ROW, owner=owner).update(claimed_until=0)

    def make_events(self, installation: str, now: float) -> None:
        """Make events of what is in none yet, once each interval."""
        due = Q(made_at__lte=now - self._interval) | Q(made_at__gt=now)
        if not UsageDelivery.objects.filter(due, pk=_ROW).update(made_at=now):
            return
        origin = EventContext(self._type, self._source, installation)
        while UsageEvent.objects.count() < MAX_EVENTS:
            if self._make_some(origin, now) < CHUNK:
                return
        log.warning("%d events of usage wait or were rejected; further usage waits in its rows", MAX_EVENTS)

    def waiting(self, limit: int) -> list[CloudEvent]:
        """The next events to deliver, in the order in which they were made."""
        return [row.event for row in UsageEvent.objects.filter(rejection="")[:limit]]

    def delivered(self, ids: Sequence[str], now: float) -> None:
        UsageEvent.objects.filter(pk__in=ids).delete()
        UsageDelivery.objects.filter(pk=_ROW).update(delivered_at=now, failures=0, failure="", retry_at=0)

    def rejected(self, identifier: str, reason: str) -> None:
        """Put an event aside that its receiver does not accept."""
        UsageEvent.objects.filter(pk=identifier).update(rejection=reason[:300])

    def failed(self, reason: str, now: float, retry_after: float) -> None:
        """Note a failure. The next try is after `retry_after` seconds or later, the more failures, the later."""
        row = UsageDelivery.objects.get(pk=_ROW)
        wait = max(retry_after, _backoff(row.failures))
        UsageDelivery.objects.filter(pk=_ROW).update(
            failures=row.failures + 1, failure=reason[:300], retry_at=now + wait
        )

    def _make_some(self, origin: EventContext, now: float) -> int:
        """Make at most CHUNK events, and return how many rows have been looked at."""
        with transaction.atomic():
            # In the order of keys, as batches are added: so no two transactions wait for each other.
            rows = list(DailyUsage.objects.select_for_update().filter(is_emitted=False).order_by("key")[:CHUNK])
            events = []
            for row in rows:
                counts = UsageCounts(*(getattr(row, name) for name in COUNT_FIELDS))
                before = UsageCounts(*row.emitted)
                if counts != before:
                    events.append(usage_event(origin, _key(row), before, counts, self._time(row.day, now)))
                row.emitted, row.is_emitted = list(astuple(counts)), True
            at = datetime.fromtimestamp(now, UTC)
            UsageEvent.objects.bulk_create(UsageEvent(id=event["id"], at=at, event=event) for event in events)
            DailyUsage.objects.bulk_update(rows, ["emitted", "is_emitted"], batch_size=100)
        return len(rows)

    def _time(self, day: date, now: float) -> float:
        """Now, or the end of the day whose usage it is."""
        return min(now, starts_at(day + timedelta(days=1), self._timezone) - 1)


def status() -> DeliveryStatus | None:
    """How deliveries have ended; None before the first one."""
    row = UsageDelivery.objects.filter(pk=_ROW).first()
    if row is None:
        return None
    return DeliveryStatus(row.installation, row.failures, row.failure, row.retry_at, row.delivered_at)


def backlog(limit: int) -> tuple[int, list[tuple[str, str]]]:
    """How many events wait, and the ids of rejected ones, at most `limit`, with the reasons."""
    rejected = UsageEvent.objects.exclude(rejection="").values_list("id", "rejection")[:limit]
    return UsageEvent.objects.filter(rejection="").count(), list(rejected)


def retry_rejected() -> int:
    """Let rejected events be delivered again. Returns how many there are."""
    return UsageEvent.objects.exclude(rejection="").update(rejection="")


def _backoff(failures: int) -> float:
    """Seconds until the next try, after so many failures in a row before the last one."""
    return min(MAX_BACKOFF_SECONDS, 2.0 ** min(failures, 20)) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret


def _key(row: DailyUsage) -> UsageKey:
    return UsageKey(row.day.isoformat(), *(getattr(row, name) for name in UsageKey._fields[1:]))
