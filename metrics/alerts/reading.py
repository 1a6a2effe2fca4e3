"""Reads what the conditions of alerts are compared with: on the event loop, and the database in a thread."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from django.db.models import Count, Max

from metrics import cluster_counts
from metrics.alerts.certificates import TargetCertificates
from metrics.alerts.conditions import Failing, GatewaySnapshot, Quota
from metrics.alerts.traffic import tally_of_requests
from metrics.counting.counts import CountBatch
from metrics.counting.flusher import Flusher
from metrics.incidents.traffic import Tally
from metrics.objectives.budgets import ObjectiveStatus
from metrics.objectives.reading import objective_reader
from metrics.targets.status import TargetConditions, without_calls
from metrics.watch_status import watch_statuses
from resilience.breaker.driver import Breakers
from resilience.durations import MINUTE
from resilience.outage import StoreUnavailable
from routing.alerts.policy import OBJECTIVES, TRAFFIC, Alert, ConditionKind
from routing.authentication.quota_owner import owner_of
from routing.balancing.balancer import Balancers
from routing.database.connection import in_thread
from routing.models import FailedDelivery, QuotaUsage
from routing.router.live import LiveConfiguration
from routing.router.table import Service
from routing.router.thresholds import MAX_WINDOW
from routing.watches.record import WatchState

COUNTS_SECONDS: Final = 10.0
"""How often counts are read."""
OBJECTIVES_SECONDS: Final = 30.0
FAILED_SECONDS: Final = 900.0
"""How long a webhook is failing after a delivery has failed."""
MAX_QUOTAS: Final = 500

Minutes = dict[str, dict[int, Tally]]


class SnapshotReader:
    """`executor` has one thread, for the database. `clock` is the Unix time that workers share."""

    def __init__(
        self,
        live: LiveConfiguration,
        *,
        flusher: Flusher,
        breakers: Breakers,
        balancers: Balancers,
        certificates: TargetCertificates,
        executor: Executor,
        clock: Callable[[], float],
    ) -> None:
        self._live = live
        self._flusher = flusher
        self._breakers = breakers
        self._balancers = balancers
        self._certificates = certificates
        self._executor = executor
        self._clock = clock
        self._minutes: Minutes = {}
        self._objectives: Mapping[str, tuple[ObjectiveStatus, ...]] = {}
        self._counted_at = self._measured_at = 0.0

    async def close(self) -> None:
        await self._certificates.close()

    async def read(self, alerts: tuple[Alert, ...]) -> GatewaySnapshot:
        """What these alerts need. Raises StoreUnavailable while the database is unavailable."""
        kinds = {condition.kind for alert in alerts for condition in alert.conditions}
        now, services = self._clock(), dict(self._live.table.services)
        rows = partial(self._read_rows, kinds, now)
        quotas, webhooks = await in_thread(rows, StoreUnavailable, self._executor)
        unknown = await self._count(kinds, services, now)
        watched = services.values() if ConditionKind.CERTIFICATE in kinds else ()
        return GatewaySnapshot(
            at=now,
            services=services,
            circuits={breaker.name: breaker.snapshot for breaker in self._breakers},
            unhealthy=await self._unhealthy(services.values()) if ConditionKind.TARGET in kinds else {},
            minutes=self._minutes,
            objectives=self._objectives,
            quotas=quotas,
            certificates=self._certificates.current(watched) if ConditionKind.CERTIFICATE in kinds else (),
            webhooks=webhooks,
            unknown=unknown,
        )

    async def _count(
        self, kinds: set[ConditionKind], services: Mapping[str, Service], now: float
    ) -> frozenset[ConditionKind]:
        """Read counts if that is due. Returns the kinds of conditions that are unknown while the store of counts is
        unavailable: missing counts of other workers must not look like a recovery.
        """
        counted, measured = kinds & TRAFFIC, kinds & OBJECTIVES
        has_traffic = counted and not 0 <= now - self._counted_at < COUNTS_SECONDS
        has_objectives = measured and not 0 <= now - self._measured_at < OBJECTIVES_SECONDS
        if has_traffic or has_objectives:
            try:
                pending = (await self._flusher.pending()).batches
            except StoreUnavailable:
                return frozenset(counted | measured)
            if has_traffic:
                self._minutes = await self._in_thread(partial(_minutes, pending, now))
                self._counted_at = now
            if has_objectives:
                work = partial(objective_reader.read, services.values(), pending, now)
                self._objectives, self._measured_at = await self._in_thread(work), now
        return frozenset() if self._flusher.connected else frozenset(counted | measured)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await in_thread(work, StoreUnavailable, self._executor)

    async def _unhealthy(self, services: Iterable[Service]) -> dict[str, dict[str, str]]:
        """Why targets receive no calls, as all workers see it; as this one does while the others cannot report."""
        try:
            gauges = (await self._flusher.pending()).gauges
        except StoreUnavailable:
            gauges = {}
        conditions = TargetConditions(gauges, self._balancers.conditions())
        found = {each.name: without_calls(conditions.of(each)) for each in services if each.policy.enabled}
        return {name: targets for name, targets in found.items() if targets}

    def _read_rows(self, kinds: set[ConditionKind], now: float) -> tuple[tuple[Quota, ...], tuple[Failing, ...]]:
        return (
            self._quotas(now) if ConditionKind.QUOTA in kinds else (),
            self._failing(now) if ConditionKind.WEBHOOK in kinds else (),
        )

    def _quotas(self, now: float) -> tuple[Quota, ...]:
        rows = QuotaUsage.objects.filter(warned__gte=80, ends__gt=now).order_by("-warned", "ends")[:MAX_QUOTAS]
        found = []
        for row in rows:
            owner = owner_of(row.counter, self._live.keys)
            found.append(Quota(f"{owner.quota} of {owner.owner} {owner.name}", row.warned, row.ends))
        return tuple(found)

    def _failing(self, now: float) -> tuple[Failing, ...]:
        """The webhooks with deliveries that were given up recently, or with watches that are not renewed."""
        texts: dict[str, list[str]] = {}
        since = datetime.fromtimestamp(now, UTC) - timedelta(seconds=FAILED_SECONDS)
        rows = FailedDelivery.objects.filter(failed_at__gt=since).order_by("webhook").values("webhook")
        for row in rows.annotate(number=Count("pk"), last=Max("failed_at")):
            number = row["number"]
            text = f"{number} {'delivery' if number == 1 else 'deliveries'} failed, the last at {row['last']:%H:%M} UTC"
            texts.setdefault(row["webhook"], []).append(text)
        for status in watch_statuses():
            number = status.states[WatchState.FAILING] + status.states[WatchState.ENDED]
            if number:
                text = f"{number} {'watch has' if number == 1 else 'watches have'} ended or cannot be renewed"
                texts.setdefault(status.webhook, []).append(text)
        webhooks = self._live.table.webhooks
        return tuple(
            Failing(name, webhooks[name].service or "" if name in webhooks else "", "; ".join(found))
            for name, found in sorted(texts.items())
        )


def _minutes(pending: Iterable[CountBatch], now: float) -> Minutes:
    """As far back as the longest window goes, and the two minutes that are looked at beside it."""
    found: Minutes = {}
    for (start, name), fields in cluster_counts.last_minutes(pending, now, MAX_WINDOW + 2 * MINUTE).items():
        found.setdefault(name, {})[start] = tally_of_requests(fields)
    return found
