"""The state of Redis, as seen by the worker that is scraped."""

import time
from typing import Any

import msgspec

from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink


class RedisStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`round_trip` is seconds. The server's own figures are None while they cannot be read, and of a cluster, whose
    nodes have figures of their own; `memory_limit` is 0 without a limit.
    """

    up: bool = False
    round_trip: float | None = None
    memory: int | None = None
    memory_limit: int | None = None
    evicted: int | None = None
    connections: int | None = None


async def read_status(link: RedisLink) -> RedisStatus:
    """Two round trips; none while Redis is known to be unavailable. One that refuses scripts is not up."""
    started = time.perf_counter()
    try:
        await link.check()
        round_trip = time.perf_counter() - started
        about = await link.call(lambda client: client.info())
    except StoreUnavailable:
        return RedisStatus()
    return _status(round_trip, about if isinstance(about, dict) else {})


def _status(round_trip: float, about: dict[str, Any]) -> RedisStatus:
    if about.get("cluster_enabled") != 0:
        return RedisStatus(up=True, round_trip=round_trip)
    return RedisStatus(
        up=True,
        round_trip=round_trip,
        memory=_number(about, "used_memory"),
        memory_limit=_number(about, "maxmemory"),
        evicted=_number(about, "evicted_keys"),
        connections=_number(about, "connected_clients"),
    )


def _number(about: dict[str, Any], name: str) -> int | None:
    found = about.get(name)
    return found if isinstance(found, int) else None
