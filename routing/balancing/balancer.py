"""This worker's view of every service's targets: who is called, how it went, and what health checks found."""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from random import Random

from routing.balancing.rules import HealthVerdict, TargetState, candidates, choose, prefer_canaries
from routing.errors import ServiceDisabled
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.policy import Target
from routing.router.table import Service

EventSink = Callable[[BackendEvent], None]


class Balancer:
    """One service's targets. Made by `Targets.of`. What is taken must be given back by `left`."""

    def __init__(self, service: str, clock: Callable[[], float], emit: EventSink, chance: Random) -> None:
        self._service = service
        self._clock = clock
        self._emit = emit
        self._chance = chance
        self._targets: tuple[Target, ...] = ()
        self._states: list[TargetState] = []
        self._has_canaries = False

    @property
    def unhealthy_count(self) -> int:
        """How many of the targets an operator lets work are left out."""
        self._expire_ejections()
        return sum(not state.healthy for state in self._states if state.target.weight)

    def configure(self, targets: tuple[Target, ...]) -> None:
        """Take over the configuration. A target an operator has changed is judged anew."""
        if targets is self._targets:
            return
        known = {state.target: state for state in self._states}
        self._states = [known.get(target) or TargetState(target) for target in targets]
        self._targets = targets
        self._has_canaries = any(target.canary for target in targets)

    def pick(self, tried: Sequence[TargetState], caller: str = "") -> TargetState:
        """The target of the `caller`'s next call, another than those `tried` where there is one.

        Raises ServiceDisabled when an operator lets none of them work.
        """
        states = self._states
        if len(states) == 1 and states[0].target.weight:
            taken = states[0]
        else:
            self._expire_ejections()
            fit = candidates(states, tried)
            if not fit:
                raise ServiceDisabled("an operator has switched all its targets off", service=self._service)
            if self._has_canaries:
                fit = prefer_canaries(fit, states, canary_point(self._service, caller))
            taken = choose(fit, self._clock(), self._chance)
        taken.outstanding += 1
        return taken

    def has_another(self, tried: Sequence[TargetState]) -> bool:
        """Whether the next call would go to a target that is not in `tried`."""
        if len(self._states) == 1:
            return False
        self._expire_ejections()
        return any(state not in tried for state in candidates(self._states, tried))

    def release(self, state: TargetState) -> None:
        """The call is over, whatever became of it."""
        state.outstanding -= 1

    def succeeded(self, state: TargetState) -> None:
        if len(self._states) > 1:
            state.succeeded(self._clock())

    def failed(self, state: TargetState, detail: str, *, no_response: bool) -> None:
        """The only target is never ejected: its circuit is what guards it."""
        if len(self._states) > 1 and state.failed(self._clock(), no_response=no_response):
            self._emit_event(BackendEventKind.EJECTED, state, f"{state.failures} failures in a row, the last: {detail}")

    def apply(self, verdicts: Mapping[str, HealthVerdict]) -> None:
        """Take over what health checks say; of what they no longer say anything, nothing is held.

        Told by the worker that asked: all others only read what it found.
        """
        for state in self._states:
            state.apply_verdict(
                verdicts.get(target_key(self._service, state.target), HealthVerdict()).down, self._clock()
            )

    def _expire_ejections(self) -> None:
        for state in self._states:
            if state.expire_ejection(self._clock()):
                self._emit_event(BackendEventKind.RETURNED, state, "its ejection is over")

    def _emit_event(self, kind: BackendEventKind, state: TargetState, detail: str) -> None:
        self._emit(BackendEvent(kind=kind, service=self._service, target=state.target.url, detail=detail))


class Balancers:
    """Every service's balancer. `clock` is monotonic seconds: what a worker sees of targets is its own."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        emit: EventSink = lambda _event: None,
        chance: Random | None = None,
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._chance = chance or Random()  # noqa: S311 - spread, not secrecy
        self._balancers: dict[str, Balancer] = {}

    def of(self, service: Service) -> Balancer:
        balancer = self._balancers.get(service.name)
        if balancer is None:
            balancer = Balancer(service.name, self._clock, self._emit, self._chance)
            self._balancers[service.name] = balancer
        balancer.configure(service.targets)
        return balancer

    def apply(self, verdicts: Mapping[str, HealthVerdict]) -> None:
        """Take over what health checks say of all targets."""
        for balancer in self._balancers.values():
            balancer.apply(verdicts)


def target_key(service: str, target: Target) -> str:
    """A target's name among all: the same address may be well for one service's health check and not another's."""
    return f"{service} {target.url}"


def split_target_key(key: str) -> tuple[str, str]:
    """The service and the address in a target's name."""
    service, _, url = key.partition(" ")
    return service, url


def canary_point(service: str, caller: str) -> float:
    """Where a caller stands for a service's canaries, from 0 to 100: the same in every worker, another elsewhere."""
    return zlib.crc32(f"{service} {caller}".encode()) * 100 / 2**32
