"""Active health checks: one elected worker of the cluster checks every target, and all workers apply its verdicts."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from routing.backend.client import Backend, Call
from routing.balancing.balancer import Balancers, split_target_key, target_key
from routing.balancing.rules import HealthVerdict, changes, next_verdict
from routing.balancing.store import FailOpen, Store
from routing.errors import CallFailed, GatewayError, Overloaded
from routing.observability.events import BackendEvent, BackendEventKind, EventSink
from routing.router.policy import HealthCheckPolicy, Target, Timeout
from routing.router.table import Service

log = logging.getLogger(__name__)

CHECK_INTERVAL_SECONDS: Final = 0.5
"""How often verdicts are loaded, and due checks started."""
LEADER_LEASE_SECONDS: Final = 3.0
"""How long after the leader's death another worker takes over."""

ReadServices = Callable[[], Iterable[Service]]
CheckedTargets = Mapping[str, tuple[Service, HealthCheckPolicy, Target]]
"""The targets to check, by target key."""


class HealthChecker:
    """The health checks in one worker. `clock` is Unix time, since verdicts are passed on from leader to leader.

    Events are emitted by the leader only, so once in the cluster; while the store is unavailable, by each worker.
    """

    def __init__(
        self,
        backend: Backend,
        store: Store,
        balancers: Balancers,
        services: ReadServices,
        *,
        emit: EventSink = lambda _event: None,
        clock: Callable[[], float] = time.time,
        holder: str | None = None,
    ) -> None:
        self._backend = backend
        self._store = FailOpen(store)
        self._balancers = balancers
        self._services = services
        self._emit = emit
        self._clock = clock
        self._holder = holder or secrets.token_hex(8)
        self._running: dict[str, asyncio.Task[str | None]] = {}
        self._idle = True

    async def run(self) -> None:
        """Call `check` periodically until cancelled."""
        try:
            while True:
                await self._check_safely()
                await asyncio.sleep(CHECK_INTERVAL_SECONDS)
        finally:
            for task in self._running.values():
                task.cancel()

    async def check(self) -> None:
        """Apply the shared verdicts, after updating them if this worker is the leader. Does not wait for targets."""
        checked = self._checked_targets()
        for service in {service.name: service for service, _, _ in checked.values()}.values():
            self._balancers.of(service)
        if self._idle and not checked:
            return
        self._idle = not checked  # once more after the last target is removed, to clear the verdicts
        if await self._store.lead(self._holder, LEADER_LEASE_SECONDS):
            await self._update(checked)
        verdicts = await self._store.load()
        self._balancers.apply({key: verdict for key, verdict in verdicts.items() if key in checked})

    async def wait_for_checks(self) -> None:
        """Wait for the checks in progress."""
        if self._running:
            await asyncio.wait(self._running.values())

    async def _check_safely(self) -> None:
        try:
            await self.check()
        except Exception:  # an error here must not end the health checks for good
            log.exception("health checks failed")

    def _checked_targets(self) -> CheckedTargets:
        """Every target of an enabled service with a health check, unless an operator overrides its state."""
        return {
            target_key(service.name, target): (service, health, target)
            for service in self._services()
            if (health := service.policy.health) is not None and service.policy.enabled
            for target in service.targets
            if target.weight and not target.always_up
        }

    async def _update(self, checked: CheckedTargets) -> None:
        """Collect the results of finished checks, start those that are due, and save the verdicts if they changed."""
        before = await self._store.load()
        after = {key: before.get(key, HealthVerdict()) for key in checked}
        faults: dict[str, str] = {}
        now = self._clock()
        for key in self._running.keys() - checked.keys():
            self._running.pop(key).cancel()
        for key, (service, health, target) in checked.items():
            task = self._running.get(key)
            if task is not None and task.done():
                del self._running[key]
                fault = task.result()
                if fault is None:
                    after[key] = msgspec.structs.replace(after[key], checked_at=now)
                else:
                    faults[key] = fault
                    after[key] = next_verdict(after[key], not fault, health, now)
            elif task is None and now - after[key].checked_at >= health.interval:
                self._running[key] = asyncio.create_task(self._fault(service, health, target))
        if (after != before or self._store.ahead) and await self._store.save(self._holder, after):
            self._emit_changes(changes(before, after), checked, faults)

    def _emit_changes(
        self, changed: Iterable[tuple[str, bool]], checked: CheckedTargets, faults: Mapping[str, str]
    ) -> None:
        for key, down in changed:
            service, url = split_target_key(key)
            if key not in checked:
                detail = "no longer checked"
            else:
                detail = f"health check failed: {faults.get(key, '')}" if down else "health check passed"
            kind = BackendEventKind.DOWN if down else BackendEventKind.UP
            self._emit(BackendEvent(kind=kind, service=service, target=url, detail=detail))

    async def _fault(self, service: Service, health: HealthCheckPolicy, target: Target) -> str | None:
        """Why the target is unhealthy; empty if it responds with a 2xx in time, None if it could not be asked.

        Redirects are not followed: they could lead anywhere.
        """
        headers = [(b"user-agent", b"gateway-health-check"), *service.policy.headers]
        call = Call("GET", health.path.encode(), headers, None)
        timeout = Timeout(connect=health.timeout, read=health.timeout, total=health.timeout)
        try:
            response = await self._backend.send(target, call, timeout)
            await response.aclose()
        except Overloaded:
            return None
        except GatewayError as error:
            return error.reason if isinstance(error, CallFailed) else error.code
        return "" if 200 <= response.status < 300 else f"status {response.status}"
