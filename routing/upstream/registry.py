"""This worker's state for each service it calls: circuit, hold-offs, concurrency limits, targets, retry budget."""

from collections.abc import Mapping
from typing import Final

from resilience.breaker.driver import Breakers
from resilience.holdoff.driver import HoldOffs
from resilience.holdoff.rules import HoldOff
from resilience.partition import Partition
from routing.balancing.balancer import Balancers
from routing.router.table import Service
from routing.upstream.bulkhead import Bulkhead

RESERVE: Final = 10.0
"""Retries that a service starts with."""
MAX_BALANCE: Final = 100.0
"""Retries that may accumulate, for the moment a target with many calls in flight goes away."""


class RetryBudget:
    """Each call deposits `share` of a retry; each retry withdraws one. Per service and worker."""

    __slots__ = ("_balance",)

    def __init__(self) -> None:
        self._balance = RESERVE

    def deposit(self, share: float) -> None:
        if self._balance < MAX_BALANCE:
            self._balance += share

    def withdraw(self, share: float) -> bool:
        """Whether one more retry is within the budget. None is where `share` is 0."""
        if self._balance < 1 or not share:
            return False
        self._balance -= 1
        return True


class Upstream:
    """One service's state. Made by `Upstreams.of`. `bulkhead` limits its calls, `websockets` its open WebSockets.

    `hold_offs` is empty while the backend limits no calls. `has_models`: whether limits of it are each model's own.
    """

    __slots__ = ("balancer", "breaker", "budget", "bulkhead", "has_models", "hold_offs", "service", "websockets")

    def __init__(
        self, service: Service, breakers: Breakers, balancers: Balancers, hold_offs: Mapping[Partition, HoldOff]
    ) -> None:
        self.hold_offs = hold_offs
        self.budget = RetryBudget()
        self.bulkhead = Bulkhead(service.name, service.policy.max_concurrency)
        self.websockets = Bulkhead(service.name, service.policy.max_concurrency)
        self.configure(service, breakers, balancers)

    def configure(self, service: Service, breakers: Breakers, balancers: Balancers) -> None:
        """Apply a new configuration; calls in flight and the retry budget carry over."""
        self.service = service
        self.breaker = breakers.of(service.name, service.policy.breaker)
        self.balancer = balancers.of(service)
        self.has_models = any(policy.has_models for policy in (service.policy, *(r.policy for r in service.routes)))
        self.bulkhead.limit = self.websockets.limit = service.policy.max_concurrency


class Upstreams:
    """The state of every service, by name."""

    def __init__(self, breakers: Breakers, balancers: Balancers, hold_offs: HoldOffs) -> None:
        self._breakers = breakers
        self._balancers = balancers
        self._hold_offs = hold_offs
        self._known: dict[str, Upstream] = {}

    @property
    def calls_in_flight(self) -> int:
        """Slots in use, of all services. WebSockets have their own."""
        return sum(upstream.bulkhead.in_flight for upstream in self._known.values())

    def of(self, service: Service) -> Upstream:
        upstream = self._known.get(service.name)
        if upstream is None:
            hold_offs = self._hold_offs.of(service.name)
            upstream = self._known[service.name] = Upstream(service, self._breakers, self._balancers, hold_offs)
        elif upstream.service is not service:
            upstream.configure(service, self._breakers, self._balancers)
        return upstream
