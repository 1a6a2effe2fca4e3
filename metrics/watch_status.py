"""How the watches of webhooks are, from the database, for Django's threads."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import Count, Min, Q

from routing.models import Watch
from routing.watches.record import WatchState


class WatchStatus(NamedTuple):
    """The watches of one webhook: how many in each state, and the seconds until the first of them ends.

    The seconds are negative if one has ended, and 0 if one has not been made yet.
    """

    webhook: str
    seconds_left: float
    states: dict[WatchState, int]


def watch_statuses() -> list[WatchStatus]:
    now = datetime.now(UTC)
    ended, pending, failing = Q(expires_at__lte=now), Q(expires_at__isnull=True), ~Q(failure="")
    rows = (
        Watch.objects.order_by("webhook")
        .values("webhook")
        .annotate(
            first=Min("expires_at"),
            ended=Count("pk", filter=ended),
            failing=Count("pk", filter=failing & ~ended),
            pending=Count("pk", filter=pending & ~failing),
            unmade=Count("pk", filter=pending),
            total=Count("pk"),
        )
    )
    return [_status(row, now) for row in rows]


def _status(row: Mapping[str, Any], now: datetime) -> WatchStatus:
    left = (row["first"] - now).total_seconds() if row["first"] else 0.0
    states = {state: row[state.value] for state in (WatchState.ENDED, WatchState.FAILING, WatchState.PENDING)}
    states[WatchState.ACTIVE] = row["total"] - sum(states.values())
    return WatchStatus(row["webhook"], min(left, 0.0) if row["unmade"] else left, states)
