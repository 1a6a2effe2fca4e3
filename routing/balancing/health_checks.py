"""Health checks: one worker of the cluster asks every target how it is, and all workers go by what it finds."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from routing.backend.client import Backend, Call
from routing.balancing.balancer import Balancers, EventSink, split_target_key, target_key
from routing.balancing.rules import HealthVerdict, changes, next_verdict
from routing.balancing.store import FailOpen, Store
from routing.errors import GatewayError
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.policy import HealthCheckPolicy, Target, Timeout
from routing.router.table import Service

log = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS: Final = 0.5
"""How often verdicts are read, and checks that are due begun."""
LEADER_LEASE_SECONDS: Final = 3.0
"""How long after the prober's death another takes its place."""

Services = Callable[[], Iterable[Service]]
Checked = Mapping[str, tuple[Service, HealthCheckPolicy, Target]]
"""What is asked of whom, by the target's name."""


class HealthChecker:
    """One worker's part. `clock` is Unix time, since the next prober goes by the last one's verdicts.

    `tell` is told by the worker that asks, so once in the cluster; while each asks for itself, by each.
    """

    def __init__(
        self,
        backend: Backend,
        store: Store,
        targets: Balancers,
        services: Services,
        *,
        emit: EventSink = lambda _event: None,
        clock: Callable[[], float] = time.time,
        holder: str | None = None,
    ) -> None:
        self._backend = backend
        self._store = FailOpen(store)
        self._targets = targets
        self._services = services
        self._emit = emit
        self._clock = clock
        self._holder = holder or secrets.token_hex(8)
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._idle = True

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                await self._look_safely()
                await asyncio.sleep(CHECK_INTERVAL_SECONDS)
        finally:
            for task in self._asking.values():
                task.cancel()

    async def check(self) -> None:
        """Take over the shared verdicts; where this worker is the prober, first renew them. Waits for no target."""
        checked = self._checked()
        for service in {service.name: service for service, _, _ in checked.values()}.values():
            self._targets.of(service)
        if self._idle and not checked:
            return
        self._idle = not checked  # the last look takes back what was said of targets that are asked no more
        if await self._store.lead(self._holder, LEADER_LEASE_SECONDS):
            await self._renew(checked)
        verdicts = await self._store.load()
        self._targets.apply({key: verdict for key, verdict in verdicts.items() if key in checked})

    async def wait_for_checks(self) -> None:
        """Wait for the checks under way."""
        if self._asking:
            await asyncio.wait(self._asking.values())

    async def _look_safely(self) -> None:
        try:
            await self.check()
        except Exception:  # a fault here must not end all checks for good
            log.exception("health checks could not be looked after")

    def _checked(self) -> Checked:
        """Those an operator has said nothing of: the others are up or down by his word."""
        return {
            target_key(service.name, target): (service, health, target)
            for service in self._services()
            if (health := service.policy.health) is not None and service.policy.enabled
            for target in service.targets
            if target.weight and not target.always_up
        }

    async def _renew(self, checked: Checked) -> None:
        before = await self._store.load()
        after = {key: before.get(key, HealthVerdict()) for key in checked}
        now = self._clock()
        for key in self._asking.keys() - checked.keys():
            self._asking.pop(key).cancel()
        for key, (service, health, target) in checked.items():
            asking = self._asking.get(key)
            if asking is not None and asking.done():
                del self._asking[key]
                after[key] = next_verdict(after[key], asking.result(), health, now)
            elif asking is None and now - after[key].checked_at >= health.interval:
                self._asking[key] = asyncio.create_task(self._is_well(service, health, target))
        if (after != before or self._store.ahead) and await self._store.save(self._holder, after):
            self._tell_of(changes(before, after), checked)

    def _tell_of(self, moves: Iterable[tuple[str, bool]], checked: Checked) -> None:
        for key, down in moves:
            service, url = split_target_key(key)
            detail = "the health check says so" if key in checked else "it is not asked any more"
            self._emit(
                BackendEvent(
                    kind=BackendEventKind.DOWN if down else BackendEventKind.UP,
                    service=service,
                    target=url,
                    detail=detail,
                )
            )

    async def _is_well(self, service: Service, health: HealthCheckPolicy, target: Target) -> bool:
        """A 2xx in time. Redirections are not followed: they could lead anywhere."""
        headers = [(b"user-agent", b"gateway-health-check"), *service.policy.headers]
        call = Call("GET", health.path.encode(), headers, None)
        timeout = Timeout(connect=health.timeout, read=health.timeout, total=health.timeout)
        try:
            answer = await self._backend.send(target, call, timeout)
            await answer.aclose()
        except GatewayError:
            return False
        return 200 <= answer.status < 300
