"""Load balancing in this worker: selects targets, records how calls to them end, and applies health verdicts."""

import time
from collections.abc import Callable, Mapping, Sequence
from random import Random

from routing.balancing.rules import (
    HealthVerdict,
    TargetCondition,
    TargetState,
    canary_point,
    candidates,
    choose,
)
from routing.errors import ServiceDisabled
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.router.policy import Target
from routing.router.table import Service


class Balancer:
    """The targets of one service. Created by `Balancers.of`. Every `pick` must be followed by a `release`."""

    def __init__(self, service: str, clock: Callable[[], float], emit: EventSink, random: Random) -> None:
        self._service = service
        self._clock = clock
        self._emit = emit
        self._random = random
        self._targets: tuple[Target, ...] = ()
        self._states: list[TargetState] = []
        self._has_canaries = False

    def conditions(self) -> dict[str, TargetCondition]:
        """The condition of each target, by its address."""
        self._expire_ejections()
        now = self._clock()
        return {state.target.url: state.condition(now) for state in self._states}

    def configure(self, targets: tuple[Target, ...]) -> None:
        """Apply the configuration. A target whose settings changed starts with a new state."""
        if targets is self._targets:
            return
        known = {state.target: state for state in self._states}
        self._states = [known.get(target) or TargetState(target) for target in targets]
        self._targets = targets
        self._has_canaries = any(target.canary for target in targets)

    def pick(self, tried: Sequence[TargetState], caller: str = "") -> TargetState:
        """Select the target of the next call of `caller`, avoiding those `tried` if possible.

        Raises ServiceDisabled if an operator has disabled all of them.
        """
        states = self._states
        if len(states) == 1 and states[0].target.weight:
            picked = states[0]
        else:
            self._expire_ejections()
            usable = candidates(states, tried, self._point(caller))
            if not usable:
                raise ServiceDisabled("an operator has disabled all targets of the service", service=self._service)
            picked = choose(usable, self._clock(), self._random)
        picked.outstanding += 1
        return picked

    def has_another(self, tried: Sequence[TargetState], caller: str = "") -> bool:
        """Whether `pick` would select a target that is not in `tried`."""
        if len(self._states) == 1:
            return False
        self._expire_ejections()
        return any(state not in tried for state in candidates(self._states, tried, self._point(caller)))

    def release(self, state: TargetState) -> None:
        """The call has ended, whatever its outcome."""
        state.outstanding -= 1

    def succeeded(self, state: TargetState) -> None:
        if len(self._states) > 1:
            state.succeeded(self._clock())

    def failed(self, state: TargetState, detail: str, *, no_response: bool) -> None:
        """Record a failure. A service's only target is never ejected; its circuit breaker protects it."""
        if len(self._states) > 1 and state.failed(self._clock(), no_response=no_response):
            self._emit_event(BackendEventKind.EJECTED, state, f"{state.failures} consecutive failures, last: {detail}")

    def apply(self, verdicts: Mapping[str, HealthVerdict]) -> None:
        """Apply the verdicts of the health checks. A target without one counts as up.

        Emits no events: the worker that runs the health checks does.
        """
        for state in self._states:
            verdict = verdicts.get(target_key(self._service, state.target), HealthVerdict())
            state.apply_verdict(verdict.down, self._clock())

    def _point(self, caller: str) -> float | None:
        return canary_point(self._service, caller) if self._has_canaries else None

    def _expire_ejections(self) -> None:
        for state in self._states:
            if state.expire_ejection(self._clock()):
                self._emit_event(BackendEventKind.RETURNED, state, "its ejection has expired")

    def _emit_event(self, kind: BackendEventKind, state: TargetState, detail: str) -> None:
        self._emit(BackendEvent(kind=kind, service=self._service, target=state.target.url, detail=detail))


class Balancers:
    """The balancers of all services. `clock` is monotonic seconds, since target states are not shared by workers."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        emit: EventSink = lambda _event: None,
        random: Random | None = None,
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._random = random or Random()  # noqa: S311 - for load distribution, not secrecy
        self._balancers: dict[str, Balancer] = {}

    def of(self, service: Service) -> Balancer:
        """The balancer of this service, configured with its current targets."""
        balancer = self._balancers.get(service.name)
        if balancer is None:
            balancer = Balancer(service.name, self._clock, self._emit, self._random)
            self._balancers[service.name] = balancer
        balancer.configure(service.targets)
        return balancer

    def conditions(self) -> dict[str, dict[str, TargetCondition]]:
        """The condition of each target of the services that have been called or checked, by service and address."""
        return {name: balancer.conditions() for name, balancer in self._balancers.items()}

    def apply(self, verdicts: Mapping[str, HealthVerdict]) -> None:
        """Apply the verdicts of the health checks to all services."""
        for balancer in self._balancers.values():
            balancer.apply(verdicts)


def target_key(service: str, target: Target) -> str:
    """The key of a target's verdict. It includes the service, since each service has its own health check."""
    return f"{service} {target.url}"


def split_target_key(key: str) -> tuple[str, str]:
    """The service and the URL in a target's key."""
    service, _, url = key.partition(" ")
    return service, url
