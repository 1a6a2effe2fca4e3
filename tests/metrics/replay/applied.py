"""A gateway to which a configuration is applied, and requests are sent, in virtual time: a replay must forecast it."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

import msgspec

from metrics.replay.simulated_gateway import NoLedger
from metrics.replay.virtual_time import VirtualTimeLoop
from metrics.request_log.memory import MemoryStore
from metrics.request_log.record import RequestRecord
from metrics.request_log.recorder import RequestRecorder
from metrics.request_log.search import RequestQuery
from resilience.breaker.driver import Breakers
from resilience.breaker.memory import MemoryStore as BreakerMemory
from resilience.cache.driver import Cache
from resilience.cache.memory import MemoryStore as CacheMemory
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as RateMemory
from resilience.usage.driver import Quotas
from resilience.usage.slots import Slots
from resilience.usage.store import MemoryStore as UsageMemory
from routing.authentication.api_keys import ApiKeys
from routing.authentication.authenticator import Authenticator
from routing.backend.client import BackendResponse, Call
from routing.consumers.table import ConsumerTable
from routing.errors import BadGateway, UpstreamTimeout
from routing.gateway_rules import GatewayRules
from routing.http import Headers, Request, Response
from routing.messages.bodies import drain
from routing.observability.events import Observers
from routing.pipeline import Gateway
from routing.router.gateway_cookies import GatewayCookies
from routing.router.live import LiveConfiguration, LoadedConfiguration
from routing.router.policy import Target, Timeout
from routing.steps.cache.steps import CacheDependencies
from routing.steps.calls import Calls
from routing.steps.plan import PlanLimits

START = 1_700_000_000.0


class Sent(msgspec.Struct, frozen=True):
    """A request, `at` seconds after the start."""

    at: float
    method: str = "GET"
    path: str = "/api/v1/crm/contacts"
    query: str = ""
    key: str = ""
    client: str = "192.0.2.7"
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def request(self) -> Request:
        credential = [(b"x-api-key", self.key.encode())] if self.key else []
        fields: Headers = [(b"host", b"gateway"), *credential, *self.headers]
        return Request(self.method, self.path.encode(), self.query.encode(), fields, self.client)


class Behaviour(msgspec.Struct, frozen=True):
    """What a backend does with a call."""

    status: int = 200
    seconds: float = 0.05
    tail: float = 0.0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    refuses: bool = False


class Body:
    def __init__(self, tail: float) -> None:
        self._tail, self._content = tail, [b"ok"]

    def complete_body(self) -> bytes | None:
        return None if self._tail else b"ok"

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        if not self._content:
            raise StopAsyncIteration
        await asyncio.sleep(self._tail)
        return self._content.pop()

    async def aclose(self) -> None:
        self._content = []


class FixedBackend:
    """Behaves as `behaviours` say, by the end of the path; the one of no path is that of all others."""

    def __init__(self, behaviours: dict[str, Behaviour]) -> None:
        self._behaviours = behaviours

    async def send(
        self,
        target: Target,
        call: Call,
        timeout: Timeout,  # noqa: ASYNC109 - the protocol's
        deadline: float,
    ) -> BackendResponse:
        path = call.path.decode().partition("?")[0]
        behaviour = self._behaviours.get(path.rpartition("/")[2]) or self._behaviours.get("", Behaviour())
        left = min(timeout.read, deadline - asyncio.get_running_loop().time())
        await asyncio.sleep(min(behaviour.seconds, left))
        if behaviour.seconds > left:
            raise UpstreamTimeout("no response in time")
        if behaviour.refuses:
            raise BadGateway("refused")
        body = Body(behaviour.tail)
        return BackendResponse(behaviour.status, [*behaviour.headers, (b"content-length", b"2")], 2, body)


def send(
    configuration: LoadedConfiguration,
    requests: Sequence[Sent],
    *,
    rules: GatewayRules,
    behaviours: dict[str, Behaviour] | None = None,
) -> list[RequestRecord]:
    """What a gateway with this configuration records of these requests, in their order."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(_send(configuration, requests, rules, behaviours or {}))


async def _send(
    configuration: LoadedConfiguration,
    requests: Sequence[Sent],
    rules: GatewayRules,
    behaviours: dict[str, Behaviour],
) -> list[RequestRecord]:
    elapsed = asyncio.get_running_loop().time

    def clock() -> float:
        return START + elapsed()

    keys = ApiKeys(configuration.keys, ConsumerTable(configuration.consumers))
    live, limiter, seconds = LiveConfiguration(configuration.table, keys), Limiter(RateMemory(), clock=clock), count()
    # Each second of the recorder has one request, so that none is too many.
    log = RequestRecorder(MemoryStore(clock), live, clock=clock, timer=lambda: float(next(seconds)), chance=lambda: 0.0)
    gateway = Gateway(
        rules=rules,
        live=live,
        limiter=limiter,
        authenticator=Authenticator(lambda: keys),
        cache=CacheDependencies(Cache(CacheMemory(clock)), GatewayCookies()),
        calls=Calls(
            FixedBackend(behaviours),
            Breakers(BreakerMemory(), clock=clock),
            cookies=GatewayCookies(),
            max_body_bytes=1_000,
            timer=elapsed,
        ),
        observers=Observers(()),
        plan_limits=PlanLimits(
            limiter, Quotas(UsageMemory(), NoLedger(), clock=clock, timer=clock), Slots(), clock=clock, timer=elapsed
        ),
        request_log=log,
        clock=clock,
        timer=elapsed,
    )
    await _play(gateway, requests)
    found = await log.search(RequestQuery(), limit=len(requests) + 1)
    return sorted((each.record for each in found.records), key=lambda record: record.at)


async def _play(gateway: Gateway, requests: Iterable[Sent]) -> None:
    elapsed, tasks = asyncio.get_running_loop().time, list[asyncio.Task[Any]]()
    for sent in requests:
        await asyncio.sleep(max(0.0, sent.at - elapsed()))
        response = gateway.answer(sent.request())
        if not isinstance(response, Response):
            tasks.append(asyncio.create_task(_finish(response)))
    await asyncio.gather(*tasks)
    await gateway.close()


async def _finish(pending: Any) -> None:
    await drain(await pending)
