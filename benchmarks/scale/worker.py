"""A virtual worker: a gateway with the stores and drivers of a real one, and a backend that responds at once."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from benchmarks.scale.accounting import Traffic
from gateway_project.parts.stores import Stores
from metrics.counting.counts import CountBatch
from metrics.counting.flusher import Flusher
from metrics.counting.observer import CircuitTransition, MetricsObserver
from metrics.request_log.recorder import RequestRecorder
from resilience.breaker.driver import Breakers
from resilience.cache.driver import Cache
from resilience.cache.flights import Flights
from resilience.cache.hit_counter import HitCounter
from resilience.cache.policy import CachePolicy, Scope
from resilience.holdoff.driver import HoldOffs
from resilience.outage import StoreUnavailable
from resilience.outbound.driver import OutboundLimiter
from resilience.quotas.driver import QuotaBook
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.policy import RatePolicy
from resilience.redis import RedisLink
from resilience.task_set import TaskSet
from routing.authentication.authenticator import Authenticator
from routing.backend.client import BackendResponse, Call
from routing.gateway_rules import GatewayRules
from routing.http import Request, Response
from routing.messages.bodies import drain
from routing.observability.events import Observers
from routing.pipeline import Gateway
from routing.realtime.event_id import EventId
from routing.router.gateway_cookies import GatewayCookies
from routing.router.live import LiveConfiguration
from routing.router.policy import Auth, RoutePolicy, Target, Timeout
from routing.router.table import RoutePattern, RouteTable, Service
from routing.steps.backend_limits import BackendLimits
from routing.steps.cache.steps import CacheDependencies
from routing.steps.calls import Calls

REFRESH_SECONDS: Final = 1.0
FLUSH_SECONDS: Final = 5.0
SERVICES: Final = 10
SHARED_LIMIT: Final = RatePolicy(2_000, 60)
"""Of the route on which it is checked that limits are exact."""
UNREACHED_LIMIT: Final = RatePolicy(1_000_000_000, 60)
"""Of the address that all requests come from."""
BODY: Final = b'{"id":7,"name":"' + b"x" * 600 + b'"}'
FAILING: Final = b"/failing"


class Body:
    """Complete at once."""

    def complete_body(self) -> bytes | None:
        return BODY

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        pass


class InstantBackend:
    async def send(
        self,
        _target: Target,
        call: Call,
        _timeout: Timeout,
        _deadline: float,
    ) -> BackendResponse:
        status = 503 if call.path.startswith(FAILING) else 200
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
        return BackendResponse(status, headers, len(BODY), Body())


class NoDatabase:
    """Counts are counted in Redis, and leave it as they do for a database."""

    def apply(self, batch: CountBatch) -> None:
        pass

    def record_transitions(self, transitions: list[CircuitTransition]) -> None:
        pass

    def disconnect(self) -> None:
        pass


class NoFollower:
    """Subscribers of events are none, as on most workers."""

    def on_start(self, floor: EventId, last: EventId) -> None:
        pass

    def on_record(self, event_id: EventId, record: bytes) -> None:
        pass

    def on_gap(self) -> None:
        pass


def route_table() -> RouteTable:
    stored = CachePolicy(ttl=300, scope=Scope.SHARED)
    policy = RoutePolicy(auth=Auth.NONE, cache=stored, timeout=Timeout(read=5, total=10))
    uncached = RoutePolicy(auth=Auth.NONE, cache=None)
    limited = RoutePolicy(auth=Auth.NONE, cache=None, rate_limit=SHARED_LIMIT)
    routes = (
        RoutePattern("/uncached", (), uncached),
        RoutePattern("/failing", (), uncached),
        RoutePattern("/limited", (), limited),
    )
    target = Target("http://127.0.0.1:9")
    return RouteTable(Service(f"s{number}", (target,), policy=policy, routes=routes) for number in range(SERVICES))


class VirtualWorker:
    def __init__(self, url: str) -> None:
        self.traffic = Traffic()
        self.link = RedisLink(url)
        self.traffic.follow(self.link)
        stores = Stores.over(self.link)
        live, observer = LiveConfiguration(route_table()), MetricsObserver()
        observers, clock = Observers([observer]), self.link.now
        self.breakers = Breakers(stores.circuits, clock=clock, on_change=observers.circuit_changed)
        self._limiter = Limiter(stores.rates, clock=time.time)
        self._hold_offs = HoldOffs(stores.hold_offs, clock=clock)
        self._hits = HitCounter(self.link)
        self._events = stores.events
        self._flights = Flights(stores.leases, clock=time.time)
        self._flusher = Flusher(observer, stores.counts, NoDatabase())
        self._log = RequestRecorder(stores.request_log, live)
        self._quotas = QuotaBook(stores.quotas)
        self._tasks = TaskSet()
        cookies = GatewayCookies()
        limits = BackendLimits(self._hold_offs, OutboundLimiter(self._limiter), self._quotas, cookies=cookies)
        self.gateway = Gateway(
            rules=GatewayRules(rate=UNREACHED_LIMIT),
            live=live,
            limiter=self._limiter,
            authenticator=Authenticator(lambda: live.keys),
            cache=CacheDependencies(Cache(stores.responses), cookies, flights=self._flights, hit_counter=self._hits),
            calls=Calls(InstantBackend(), self.breakers, cookies=cookies, max_body_bytes=1_000, limits=limits),
            observers=observers,
            request_log=self._log,
        )

    async def start(self) -> None:
        await self.link.start()
        for service in self.gateway.live.table.services.values():
            self.breakers.of(service.name, service.policy.breaker)
        self._flusher.start()
        self._log.start()
        for work in (self._refresh(), self._flush(), self._events.follow(NoFollower())):
            self._tasks.create(work)

    async def close(self) -> None:
        await self._tasks.cancel_and_wait()
        await self.gateway.close()
        await self._log.close()
        await self._flusher.close()
        await self._limiter.close()
        await self.breakers.close()
        await self._hold_offs.close()
        await self.link.close()

    async def request(self, method: str, path: str) -> int:
        """The status of the response."""
        request = Request(method, path.encode(), b"", [(b"host", b"gateway")], "192.0.2.7")
        response = self.gateway.answer(request)
        if not isinstance(response, Response):
            response = await response
        await drain(response)
        return response.status

    async def publish(self) -> None:
        with suppress(StoreUnavailable):
            await self._events.append(b'{"topic":"bench:tick","data":{"id":"7"}}')

    async def _refresh(self) -> None:
        """As gateway_project/background.py."""
        while True:
            await self.breakers.refresh()
            await self._hold_offs.refresh()
            await self._quotas.flush()
            await asyncio.sleep(REFRESH_SECONDS)

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._hits.flush()
