"""Steps 5 and 8, built on one cache."""

from collections.abc import Callable
from typing import NamedTuple

from resilience.cache.driver import Cache
from resilience.cache.flights import Flights
from resilience.cache.hit_counter import HitCounter
from routing.observability.events import Observers
from routing.router.gateway_cookies import GatewayCookies
from routing.steps.cache.cache_key import CacheKeys
from routing.steps.cache.check import CacheCheck
from routing.steps.cache.coalescing import Coalescing, Fetch
from routing.steps.cache.lookup import CacheLookup
from routing.steps.cache.store import CacheStore


class CacheDependencies(NamedTuple):
    """What the two steps need. `cookies` are the gateway's own. Without `keys`, `flights` and
    `hit_counter`, the gateway has its own.
    """

    cache: Cache
    cookies: GatewayCookies
    keys: CacheKeys | None = None
    flights: Flights | None = None
    hit_counter: HitCounter | None = None


class CacheSteps:
    """`fetch` takes an exchange through steps 6 to 8. `clock` is Unix seconds, `timer` monotonic ones."""

    def __init__(
        self,
        needs: CacheDependencies,
        fetch: Fetch,
        observers: Observers,
        *,
        clock: Callable[[], float],
        timer: Callable[[], float],
    ) -> None:
        cache, cookies = needs.cache, needs.cookies
        self.coalescing = Coalescing(cache, needs.flights or Flights(clock=clock), fetch, clock=clock, timer=timer)
        keys, hit_counter = needs.keys or CacheKeys(cookies), needs.hit_counter or HitCounter()
        self.check = CacheCheck(CacheLookup(cache, self.coalescing, keys=keys, hit_counter=hit_counter, timer=timer))
        self.store = CacheStore(cache, fetch, observers, cookies=cookies, clock=clock, timer=timer)
