"""Advice on cache lifetimes: the evidence of each route, and what it says."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from metrics import cluster_counts, selectors
from metrics.advice.drafts import is_possible
from metrics.advice.records import Advice, ChangedSetting, Configuration, Draft, Topic
from metrics.advice.ttl import Evidence, TtlAdvice, advise
from metrics.advice.words import count, percent, setting, span
from metrics.counting import aggregates
from metrics.counting.counts import with_prefix
from metrics.counting.refetches import interval_of
from metrics.models import TimeResolution
from metrics.stats import SAVED_RESULTS
from resilience.durations import DAY
from routing.router.table import Service

DAYS: Final = 14
THEIRS: Final = "theirs"

RouteName = tuple[str, str]
"""A service and a pattern of its routes."""


def cache_advice(document: Configuration) -> Iterator[Advice]:
    """`document` is the configuration, for drafts. Raises DatabaseError."""
    services = selectors.configured_services()
    for (service, route), seen in evidence().items():
        ttl = _ttl(services.get(service), route)
        if ttl is not None and (advice := advise(seen, ttl)) is not None:
            draft = None
            if advice.ttl is not None:
                draft = Draft(change=ChangedSetting.TTL, service=service, route=route, value=setting(advice.ttl))
            yield Advice(
                topic=Topic.TTL,
                service=service,
                subject=route or "paths without a route",
                text=_text(ttl, seen, advice),
                calls=advice.calls,
                draft=draft if draft is not None and is_possible(draft, document) else None,
                label=f"Keep for {span(advice.ttl)}" if advice.ttl is not None else "",
            )


def evidence() -> dict[RouteName, Evidence]:
    """The evidence for the routes whose responses are fresh for `ttl` seconds."""
    now = selectors.now()
    start = int(now // DAY - DAYS + 1) * DAY
    rows = aggregates.iterate_counts(cluster_counts.pending_batches(), TimeResolution.ROUTES_DAY, start, now + 1)
    pairs: defaultdict[RouteName, defaultdict[str, Counter[float]]] = defaultdict(lambda: defaultdict(Counter))
    first: dict[RouteName, int] = {}
    used: defaultdict[RouteName, Counter[str]] = defaultdict(Counter)
    for at, service, fields in rows:
        for labels, number in with_prefix(fields, "refetch").items():
            result, bucket, route = labels.split("|", 2)
            if result != THEIRS and bucket.isdecimal():
                pairs[service, route][result][interval_of(int(bucket))] += number
                first[service, route] = min(at, first.get((service, route), at))
        for labels, number in with_prefix(fields, "route_cache").items():
            result, _method, route = labels.split("|", 2)
            used[service, route][result] += number
    return {
        name: Evidence(
            same=results["same"],
            changed=results["changed"],
            days=(now - first[name]) / DAY,
            requests=used[name].total(),
            cached=sum(used[name][result] for result in SAVED_RESULTS),
        )
        for name, results in pairs.items()
    }


def _ttl(service: Service | None, route: str) -> float | None:
    """The configured lifetime; None where nothing is stored, or what is configured is not clear."""
    if service is None:
        return None
    policies = [each.policy for each in service.routes if each.path == route] if route else [service.policy]
    lifetimes = {policy.cache.ttl for policy in policies if policy.cache is not None}
    return lifetimes.pop() if len(lifetimes) == 1 else None


def _text(ttl: float, found: Evidence, advice: TtlAdvice) -> str:
    seen = f"Kept for {span(ttl)}. Of {found.pairs:,} repeated fetches"
    if advice.ttl is None:
        return (
            f"{seen} each returned something else: responses are outdated most of the time, or contain what always "
            "changes, such as the time. How often they change cannot be told."
        )
    calls = count(abs(advice.calls))
    effect = f"saves {calls} calls a day" if advice.calls > 0 else f"takes {calls} calls a day more"
    outdated = f"{span(advice.ttl)} {effect}; a response is then outdated {percent(advice.outdated)} of the time"
    if advice.every is None:
        return f"{seen} none returned anything else, in {span(found.seconds)} together. {outdated} at most."
    changed = f"{found.changes:,} returned something else: a response changes about every {span(advice.every)}"
    return f"{seen} {changed}. {outdated}, and now {percent(advice.outdated_now)}."
