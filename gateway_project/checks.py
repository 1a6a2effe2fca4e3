"""The checks of `/health/deep`: database, Redis, circuits, channel layer, and every service."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from channels.layers import get_channel_layer
from django.db import connection

from metrics.targets.status import TargetConditions, count_conditions, without_calls_text
from resilience.breaker.driver import Breakers
from resilience.breaker.machine import State
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.balancing.balancer import Balancers
from routing.database.connection import thread_connection
from routing.observability.health import Check, Health, TargetsHealth, Unhealthy
from routing.router.live import LiveConfiguration
from routing.router.table import Service

if TYPE_CHECKING:
    from routing.authentication.signing_keys import SigningKeys

CHANNEL_SECONDS: Final = 1.0
"""How long a message may take through the channel layer: below the time limit of a check."""
CONDITIONS_SECONDS: Final = 1.0
"""How long the other workers' reports on targets may take: the check goes on without them."""
_HEALTH_OF_STATE = {
    State.CLOSED: Health.OK,
    State.HALF_OPEN: Health.DEGRADED,
    State.OPEN: Health.DOWN,
    State.FORCED_OPEN: Health.OFF,
    State.DISABLED: Health.OK,
}


class SigningKeySets(Protocol):
    """All signing keys in use, by the names of their checks."""

    @property
    def keys(self) -> "dict[str, SigningKeys]": ...


ReadGauges = Callable[[], Awaitable[Mapping[str, int]]]
"""The sums of what all workers report; raises StoreUnavailable."""


class SharedConditions:
    """The condition of targets in all workers, read once for all services; else in this worker."""

    def __init__(self, gauges: ReadGauges | None, targets: Balancers) -> None:
        self._gauges = gauges
        self._targets = targets
        self._read: asyncio.Task[TargetConditions] | None = None

    async def get(self) -> TargetConditions:
        if self._read is None:
            self._read = asyncio.create_task(self._conditions())
        return await asyncio.shield(self._read)

    async def _conditions(self) -> TargetConditions:
        gauges: Mapping[str, int] = {}
        if self._gauges is not None:
            with contextlib.suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(CONDITIONS_SECONDS):
                    gauges = await self._gauges()
        return TargetConditions(gauges, self._targets.conditions())


def health_checks(
    link: RedisLink | None,
    live: LiveConfiguration,
    breakers: Breakers,
    targets: Balancers,
    tokens: "SigningKeySets | None" = None,
    *,
    gauges: ReadGauges | None = None,
) -> dict[str, Check]:
    """Every check by name. A service's health is read from its circuit and the condition of its targets, so no request
    goes to a backend.

    `tokens` has the keys that verify tokens. Without `gauges`, this worker's view of the targets is all there is.
    """
    checks: dict[str, Check] = {
        "database": partial(asyncio.to_thread, check_database),
        "redis": partial(_redis, link),
        "circuits": partial(_circuits, breakers),
        "channel_layer": _channel_layer,
    }
    for name, keys in (tokens.keys if tokens is not None else {}).items():
        checks[name] = partial(_signing_keys, keys)
    conditions = SharedConditions(gauges, targets)
    for service in live.table.services.values():
        name = f"service {service.name}" if service.name in checks else service.name
        checks[name] = partial(_service, service, breakers, conditions)
    return checks


@thread_connection()
def check_database() -> Health:
    """Degraded while it is read-only: services are served, and nobody can log in or change anything."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW transaction_read_only" if connection.vendor == "postgresql" else "SELECT 1")
        if cursor.fetchone() == ("on",):
            raise Unhealthy(Health.DEGRADED, "the database is read-only")
    return Health.OK


async def _redis(link: RedisLink | None) -> Health:
    """An outage of Redis degrades the gateway: each worker then decides alone. So does a Redis that refuses scripts."""
    if link is None:
        return Health.OFF
    try:
        await link.check()
    except StoreUnavailable:
        return Health.DEGRADED
    return Health.OK if link.feed.alive else Health.DEGRADED


async def _channel_layer() -> Health:
    """Its outage degrades the dashboard's feed only. Which errors it raises depends on its backend."""
    layer = get_channel_layer()
    if layer is None:
        return Health.OFF
    try:
        async with asyncio.timeout(CHANNEL_SECONDS):
            channel = await layer.new_channel()
            await layer.send(channel, {"type": "health.ping"})
            await layer.receive(channel)
    except Exception:  # noqa: BLE001 - any failure, of whatever backend, degrades
        return Health.DEGRADED
    return Health.OK


async def _signing_keys(keys: "SigningKeys") -> Health:
    """Degraded while the last keys are used after their max-age; down while there are none to verify tokens with."""
    if (reason := keys.fault) is not None:
        raise Unhealthy(Health.DOWN if keys.keys is None else Health.DEGRADED, reason)
    return Health.OK


async def _circuits(breakers: Breakers) -> Health:
    """Degraded while this worker does not share its circuits with the others."""
    return Health.DEGRADED if breakers.degraded else Health.OK


async def _service(service: Service, breakers: Breakers, conditions: SharedConditions) -> Health | TargetsHealth:
    """The health of the circuit; degraded if a target is without calls in any worker."""
    if not service.policy.enabled:
        return Health.OFF
    if service.is_out:
        return Health.DOWN
    found = (await conditions.get()).of(service)
    health, reason = (
        _HEALTH_OF_STATE[breakers.of(service.name, service.policy.breaker).state()],
        without_calls_text(found),
    )
    if service.faults or (
        health is Health.OK and reason
    ):  # with faults, it continues with its last valid configuration
        health = Health.DEGRADED
    return TargetsHealth(health, count_conditions(found), reason or None)
