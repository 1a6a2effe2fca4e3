"""A gateway on one configuration, with everything that it decides by in memory and on a clock of its own."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from metrics.replay.decision import Decision, decision_of
from metrics.replay.recorded_backend import GrantedCredentials, RecordedBackend, UnusedSigner
from metrics.replay.recorded_callers import RecordedCallers, StandIns
from metrics.replay.recorded_request import RecordedRequest
from resilience.breaker.driver import Breakers
from resilience.breaker.memory import MemoryStore as BreakerMemory
from resilience.cache.driver import Cache
from resilience.cache.memory import MemoryStore as CacheMemory
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as RateMemory
from resilience.usage.counter import Counter
from resilience.usage.driver import Quotas
from resilience.usage.slots import Slots
from resilience.usage.store import Delta
from resilience.usage.store import MemoryStore as UsageMemory
from routing.authentication.api_keys import ApiKeys
from routing.authentication.signatures.nonces import MemoryNonces
from routing.balancing.balancer import Balancers
from routing.consumers.table import ConsumerTable
from routing.exchange import Exchange
from routing.gateway_rules import GatewayRules
from routing.observability.events import Observers, RequestFinished
from routing.pipeline import Gateway
from routing.router.gateway_cookies import GatewayCookies
from routing.router.live import LiveConfiguration, LoadedConfiguration
from routing.router.policy import Auth
from routing.router.table import Match
from routing.steps.cache.cache_key import CacheKeys
from routing.steps.cache.steps import CacheDependencies
from routing.steps.calls import Calls
from routing.steps.compiled import Step
from routing.steps.plan import PlanLimits

SEED: Final = 57
"""The random seed for the choice among targets, so that a repeated replay gives the same result."""
_EXCLUSIVE: Final = frozenset({Auth.CERTIFICATE, Auth.SIGNATURE})


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every configuration. `secret` is the key of digests in cache keys, `name` that of
    GATEWAY_ENVIRONMENT.
    """

    rules: GatewayRules
    cookies: GatewayCookies
    secret: bytes
    name: str = ""


class Decisions:
    """A RequestLog that keeps what was decided about each replayed request, by the request's index."""

    def __init__(self) -> None:
        self.found: dict[int, Decision] = {}

    def next_sample(self, exchange: Exchange | None = None) -> int:
        """Every request has a step log, so that each is passed to `finished`."""
        if exchange is not None:
            exchange.log_steps()
        return 0

    def waiting(self, exchange: Exchange) -> None:
        pass

    def finished(self, exchange: Exchange, event: RequestFinished) -> None:
        request = exchange.request
        if isinstance(request, RecordedRequest):
            self.found[request.index] = decision_of(exchange, event)


class SimulatedGateway(Gateway):
    """`elapsed` is the virtual time, which begins at `origin` in Unix time."""

    def __init__(
        self,
        configuration: LoadedConfiguration,
        environment: Environment,
        stand_ins: StandIns,
        decisions: Decisions,
        *,
        origin: float,
        elapsed: Callable[[], float],
    ) -> None:
        def clock() -> float:
            return origin + elapsed()

        table = configuration.table
        keys = ApiKeys(configuration.keys, ConsumerTable(configuration.consumers), environment.name)
        self.callers = RecordedCallers(table, keys, stand_ins, clock)
        observers, limiter = Observers(()), Limiter(RateMemory(), clock=clock)
        quotas = Quotas(UsageMemory(), NoLedger(), clock=clock, timer=elapsed)
        super().__init__(
            # The client's address, scheme and host are recorded as the proxies have given them.
            rules=msgspec.structs.replace(environment.rules, trusted_proxies=(), certificates=None),
            live=LiveConfiguration(table, keys),
            limiter=limiter,
            authenticator=self.callers,
            cache=CacheDependencies(
                Cache(CacheMemory(clock)),
                environment.cookies,
                CacheKeys(environment.cookies, environment.secret),
            ),
            credentials=GrantedCredentials(clock),
            calls=_simulated_calls(environment, clock, elapsed),
            observers=observers,
            plan_limits=PlanLimits(limiter, quotas, Slots(), clock=clock, timer=elapsed),
            request_log=decisions,
            nonces=MemoryNonces(clock),
            clock=clock,
            timer=elapsed,
        )

    def steps(self, match: Match, method: str) -> list[tuple[str, Step]]:
        """The same, with the caller as this route would have identified it."""
        return [("recorded caller", _identified), *super().steps(match, method)]


def _simulated_calls(environment: Environment, clock: Callable[[], float], elapsed: Callable[[], float]) -> Calls:
    return Calls(
        RecordedBackend(),
        Breakers(BreakerMemory(), clock=clock),
        cookies=environment.cookies,
        max_body_bytes=environment.rules.max_body_bytes,
        balancers=Balancers(clock=elapsed, random=Random(SEED)),  # noqa: S311 - it protects nothing
        signer=UnusedSigner(),
        timer=elapsed,
    )


def _identified(exchange: Exchange) -> None:
    """A caller that has shown a certificate or a signature is set from the start. Take it away where the route reads
    none, or the other one.
    """
    caller, auth = exchange.caller, exchange.resolution.auth
    if caller is not None and (auth is Auth.NONE or (auth in _EXCLUSIVE and caller.kind != auth)):
        exchange.caller = None


class NoLedger:
    """Quotas begin unused, and nothing is saved."""

    async def read(self, key: str) -> Counter:  # noqa: ARG002 - the protocol's
        return Counter()

    async def begin(self, keys: Sequence[str], generation: str) -> list[Counter]:
        return [Counter(generation=generation) for _ in keys]

    async def adopt(self, generation: str, others: Mapping[str, str]) -> None:
        """Nobody else fills a counter."""

    async def save(self, deltas: Sequence[Delta]) -> list[str]:
        return [delta.generation for delta in deltas]
