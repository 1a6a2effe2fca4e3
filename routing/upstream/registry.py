"""What this worker has for each service that is called: its circuit, its places, its targets, and its repeats."""

from resilience.breaker.driver import Breakers
from routing.balancing.balancer import Balancers
from routing.router.table import Service
from routing.upstream.bulkhead import Bulkhead
from routing.upstream.retry_budget import RetryBudget


class Upstream:
    """One service's. Made by `Upstreams.of`."""

    __slots__ = ("balancer", "breaker", "budget", "bulkhead", "service")

    def __init__(self, service: Service, breakers: Breakers, targets: Balancers) -> None:
        self.budget = RetryBudget()
        self.bulkhead = Bulkhead(service.name, service.policy.max_concurrency)
        self.configure(service, breakers, targets)

    def configure(self, service: Service, breakers: Breakers, targets: Balancers) -> None:
        """Take over the configuration."""
        self.service = service
        self.breaker = breakers.of(service.name, service.policy.breaker)
        self.balancer = targets.of(service)
        self.bulkhead.limit = service.policy.max_concurrency


class Upstreams:
    """Every service's, by name."""

    def __init__(self, breakers: Breakers, targets: Balancers) -> None:
        self._breakers = breakers
        self._targets = targets
        self._known: dict[str, Upstream] = {}

    def of(self, service: Service) -> Upstream:
        upstream = self._known.get(service.name)
        if upstream is None:
            upstream = self._known[service.name] = Upstream(service, self._breakers, self._targets)
        elif upstream.service is not service:
            upstream.configure(service, self._breakers, self._targets)
        return upstream
