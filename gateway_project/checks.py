"""The checks of `/health/deep`: database, Redis, circuits, channel layer, and every service."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from channels.layers import get_channel_layer
from django.db import connection

from resilience.breaker.driver import Breakers
from resilience.breaker.machine import State
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.balancing.balancer import Balancers
from routing.database.connection import thread_connection
from routing.observability.health import Check, Health, Unhealthy
from routing.router.live import LiveConfiguration
from routing.router.table import Service

if TYPE_CHECKING:
    from routing.authentication.signing_keys import SigningKeys

CHANNEL_SECONDS: Final = 1.0
"""How long a message may take through the channel layer: below the time limit of a check."""
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


def health_checks(
    link: RedisLink | None,
    live: LiveConfiguration,
    breakers: Breakers,
    targets: Balancers,
    tokens: "SigningKeySets | None" = None,
) -> dict[str, Check]:
    """Every check by name. A service's health is read from its circuit, so no request goes to a backend.

    `tokens` has the keys that verify tokens.
    """
    checks: dict[str, Check] = {
        "database": partial(asyncio.to_thread, _database),
        "redis": partial(_redis, link),
        "circuits": partial(_circuits, breakers),
        "channel_layer": _channel_layer,
    }
    for name, keys in (tokens.keys if tokens is not None else {}).items():
        checks[name] = partial(_signing_keys, keys)
    for service in live.table.services.values():
        name = f"service {service.name}" if service.name in checks else service.name
        checks[name] = partial(_service, service, breakers, targets)
    return checks


@thread_connection()
def _database() -> Health:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return Health.OK


async def _redis(link: RedisLink | None) -> Health:
    """An outage of Redis degrades the gateway: each worker then decides alone."""
    if link is None:
        return Health.OFF
    try:
        await link.call(lambda client: client.ping())
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


async def _service(service: Service, breakers: Breakers, targets: Balancers) -> Health:
    """The health of the circuit; degraded if a target is unhealthy."""
    if not service.policy.enabled:
        return Health.OFF
    if service.is_out:
        return Health.DOWN
    if service.faults:  # it continues with its last valid configuration
        return Health.DEGRADED
    health = _HEALTH_OF_STATE[breakers.of(service.name, service.policy.breaker).state()]
    return Health.DEGRADED if health is Health.OK and targets.of(service).unhealthy_count else health
