"""This worker's view of every service's targets: who is called, how it went, and what health checks found."""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from random import Random

from routing.balancing.rules import TargetState, Verdict, candidates, choose, preferred
from routing.errors import ServiceDisabled
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.policy import Target
from routing.router.table import Service

EventSink = Callable[[BackendEvent], None]


class Balancer:
    """One service's targets. Made by `Targets.of`. What is taken must be given back by `left`."""

    def __init__(self, service: str, clock: Callable[[], float], tell: EventSink, chance: Random) -> None:
        self._service = service
        self._clock = clock
        self._tell = tell
        self._chance = chance
        self._targets: tuple[Target, ...] = ()
        self._standings: list[TargetState] = []
        self._has_canaries = False

    @property
    def unhealthy_count(self) -> int:
        """How many of the targets an operator lets work are left out."""
        self._settle()
        return sum(not standing.healthy for standing in self._standings if standing.target.weight)

    def configure(self, targets: tuple[Target, ...]) -> None:
        """Take over the configuration. A target an operator has changed is judged anew."""
        if targets is self._targets:
            return
        known = {standing.target: standing for standing in self._standings}
        self._standings = [known.get(target) or TargetState(target) for target in targets]
        self._targets = targets
        self._has_canaries = any(target.canary for target in targets)

    def pick(self, tried: Sequence[TargetState], caller: str = "") -> TargetState:
        """The target of the `caller`'s next call, another than those `tried` where there is one.

        Raises ServiceDisabled when an operator lets none of them work.
        """
        standings = self._standings
        if len(standings) == 1 and standings[0].target.weight:
            taken = standings[0]
        else:
            self._settle()
            fit = candidates(standings, tried)
            if not fit:
                raise ServiceDisabled("an operator has switched all its targets off", service=self._service)
            if self._has_canaries:
                fit = preferred(fit, standings, point_of(self._service, caller))
            taken = choose(fit, self._clock(), self._chance)
        taken.outstanding += 1
        return taken

    def has_another(self, tried: Sequence[TargetState]) -> bool:
        """Whether the next call would go to a target that is not in `tried`."""
        if len(self._standings) == 1:
            return False
        self._settle()
        return any(standing not in tried for standing in candidates(self._standings, tried))

    def release(self, standing: TargetState) -> None:
        """The call is over, whatever became of it."""
        standing.outstanding -= 1

    def succeeded(self, standing: TargetState) -> None:
        if len(self._standings) > 1:
            standing.succeeded(self._clock())

    def failed(self, standing: TargetState, detail: str, *, cut: bool) -> None:
        """The only target is never ejected: its circuit is what guards it."""
        if len(self._standings) > 1 and standing.failed(self._clock(), cut=cut):
            self._say(BackendEventKind.EJECTED, standing, f"{standing.failures} failures in a row, the last: {detail}")

    def apply(self, verdicts: Mapping[str, Verdict]) -> None:
        """Take over what health checks say; of what they no longer say anything, nothing is held.

        Told by the worker that asked: all others only read what it found.
        """
        for standing in self._standings:
            standing.found(verdicts.get(name(self._service, standing.target), Verdict()).down, self._clock())

    def _settle(self) -> None:
        for standing in self._standings:
            if standing.settle(self._clock()):
                self._say(BackendEventKind.RETURNED, standing, "its ejection is over")

    def _say(self, kind: BackendEventKind, standing: TargetState, detail: str) -> None:
        self._tell(BackendEvent(kind=kind, service=self._service, target=standing.target.url, detail=detail))


class Balancers:
    """Every service's balancer. `clock` is monotonic seconds: what a worker sees of targets is its own."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell: EventSink = lambda _event: None,
        chance: Random | None = None,
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._chance = chance or Random()  # noqa: S311 - spread, not secrecy
        self._balancers: dict[str, Balancer] = {}

    def of(self, service: Service) -> Balancer:
        balancer = self._balancers.get(service.name)
        if balancer is None:
            balancer = Balancer(service.name, self._clock, self._tell, self._chance)
            self._balancers[service.name] = balancer
        balancer.configure(service.targets)
        return balancer

    def apply(self, verdicts: Mapping[str, Verdict]) -> None:
        """Take over what health checks say of all targets."""
        for balancer in self._balancers.values():
            balancer.apply(verdicts)


def name(service: str, target: Target) -> str:
    """A target's name among all: the same address may be well for one service's health check and not another's."""
    return f"{service} {target.url}"


def named(name: str) -> tuple[str, str]:
    """The service and the address in a target's name."""
    service, _, url = name.partition(" ")
    return service, url


def point_of(service: str, caller: str) -> float:
    """Where a caller stands for a service's canaries, from 0 to 100: the same in every worker, another elsewhere."""
    return zlib.crc32(f"{service} {caller}".encode()) * 100 / 2**32
