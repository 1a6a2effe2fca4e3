"""What the cache contains and how often it was hit, of all services. For Django's threads: it blocks."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from metrics.counting.counts import Fields, merge_counts, with_prefix
from metrics.read_models import CacheUsage, ServiceCache
from metrics.runtime_access import run_on_loop, running
from metrics.stats import hit_rate, hits_and_misses
from resilience.cache.objects import SERVICE
from resilience.cache.store import StoreUsage
from resilience.outage import StoreUnavailable


def read_cache_usage(services: Iterable[str], totals: Mapping[str, Fields]) -> CacheUsage:
    """What the caches of these services contain, with their hits and misses in `totals`."""
    # Django code has cache entries under a service name of its own.
    names = sorted({*services, *({SERVICE} & totals.keys())})
    usage = run_on_loop(_usage(names))
    by_service = {name: _service_cache(totals.get(name, {}), (usage or {}).get(name)) for name in names}
    hits, misses = hits_and_misses(with_prefix(merge_counts(totals.values()), "cache"))
    return CacheUsage(
        connected=usage is not None,
        hits=hits,
        misses=misses,
        hit_rate=hit_rate(hits, misses),
        entries=sum(cache.entries for cache in by_service.values()),
        bytes=sum(cache.bytes for cache in by_service.values()),
        by_service=by_service,
    )


async def _usage(names: Sequence[str]) -> dict[str, StoreUsage] | None:
    """The usage of each service's cache; None if the store is unavailable."""
    cache = running().cache
    try:
        usages = await asyncio.gather(*(cache.usage(name) for name in names))
    except StoreUnavailable:
        return None
    return dict(zip(names, usages, strict=True))


def _service_cache(fields: Fields, usage: StoreUsage | None) -> ServiceCache:
    hits, misses = hits_and_misses(with_prefix(fields, "cache"))
    used = usage or StoreUsage(0, 0)
    return ServiceCache(
        hits=hits, misses=misses, hit_rate=hit_rate(hits, misses), entries=used.entries, bytes=used.bytes
    )
