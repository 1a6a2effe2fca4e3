"""Two gateways with a Redis each and one database: what they share, and what each has of its own (docs/scaling.md)."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import NamedTuple

import pytest

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.seed import create_keys
from tests.system.backend import Backend
from tests.system.server import Server, document

pytestmark = pytest.mark.slow
PATH = "/api/v1/crm/contacts"


class Regions(NamedTuple):
    east: Server
    west: Server
    keys: dict[str, str]
    backend: Backend


@pytest.fixture(scope="module")
def regions() -> Iterator[Regions]:
    servers = [RedisServer(), RedisServer()]
    for server in servers:
        server.start()
    backend = Backend({})
    east = Server(migrated=True, environment={"REDIS_URL": servers[0].url})
    shared = {"DATABASE_URL": east.environment["DATABASE_URL"], "REDIS_URL": servers[1].url}
    west = Server(environment=shared | {"SECRET_KEY": east.environment["SECRET_KEY"]})
    try:
        with backend, east, west:
            services = {"crm": {"targets": backend.targets, "cache": {"ttl": 300, "scope": "shared"}}}
            east.manage("config", "apply", "-", stdin=document(services))
            keys = create_keys(east.manage, {"caller": ("*",), "operator": ("metrics:read", "metrics:write")})
            yield Regions(east, west, keys, backend)
    finally:
        for server in servers:
            server.stop()


def status(server: Server, key: str, path: str = PATH) -> int:
    return server.get(path, key).status_code


def cache(server: Server, key: str) -> str:
    return server.get(PATH, key).headers["X-Cache"]


def serves(server: Server, key: str) -> bool:
    return status(server, key) == 200


def lists(server: Server, key: str) -> bool:
    return status(server, key, "/api/v1/") == 200


def has_limit(server: Server) -> bool:
    return "q=5;" in server.get(PATH).headers.get("RateLimit-Policy", "")


def circuit(server: Server, key: str) -> str:
    return str(server.get("/metrics/circuit-breakers", key).json()["stats"]["crm"]["state"])


def saved_use(server: Server) -> int:
    """What is used of quotas, by the database."""
    with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT coalesce(sum(used), 0) FROM routing_quotausage").fetchone()[0])


def usage(server: Server, key: str) -> int:
    rows = server.get("/metrics/usage?group_by=consumer&consumer=acme", key).json()["usage"]
    return sum(row["requests"] for row in rows)


def test_the_configuration_and_keys_are_shared(regions: Regions) -> None:
    for region in (regions.east, regions.west):
        assert eventually(partial(serves, region, regions.keys["caller"]), 10)


def test_responses_are_stored_and_invalidated_in_each_region(regions: Regions) -> None:
    key = regions.keys["caller"]
    for region in (regions.east, regions.west):
        cache(region, key)
        assert cache(region, key) == "HIT"
    assert regions.east.request("DELETE", "/metrics/cache/crm", regions.keys["operator"]).status_code == 200
    assert (cache(regions.east, key), cache(regions.west, key)) == ("MISS", "HIT")


def test_limits_hold_in_each_region(regions: Regions) -> None:
    services = {"crm": {"targets": regions.backend.targets, "cache": False, "rate_limit": "5/h"}}
    regions.west.manage("config", "apply", "-", stdin=document(services))
    for region in (regions.east, regions.west):
        assert eventually(partial(has_limit, region), 10)
        assert [status(region, regions.keys["caller"]) for _ in range(7)] == [200] * 5 + [429] * 2


def test_circuits_are_each_regions_own(regions: Regions) -> None:
    operator, settings = regions.keys["operator"], {"ttl": 60, "reason": "maintenance"}
    forced = regions.east.request("POST", "/metrics/circuit-breakers/crm/open", operator, json=settings)
    assert forced.status_code == 200
    assert (circuit(regions.east, operator), circuit(regions.west, operator)) == ("FORCED_OPEN", "CLOSED")
    regions.east.request("POST", "/metrics/circuit-breakers/crm/reset", operator, json={})


def test_quotas_are_counted_on_from_what_the_others_have_saved_and_usage_is_that_of_all(regions: Regions) -> None:
    operator = regions.keys["operator"]
    draft = {
        "version": 1,
        "services": {"crm": {"targets": regions.backend.targets, "cache": False}},
        "plans": {"free": {"quota": [{"amount": 6, "per": "month"}]}},
        "consumers": {"acme": {"plan": "free"}},
    }
    regions.east.manage("config", "apply", "-", stdin=json.dumps(draft))
    key = regions.east.manage("apikey", "create", "acme", "--consumer", "acme", "--all-services").split()[-1]
    for region in (regions.east, regions.west):
        assert eventually(partial(lists, region, key), 10)
    assert [status(regions.east, key) for _ in range(4)] == [200] * 4
    assert eventually(lambda: saved_use(regions.east) == 4, 10)
    assert [status(regions.west, key) for _ in range(4)] == [200] * 2 + [429] * 2
    # The first one does not learn of these: it grants what is left by its own count.
    assert [status(regions.east, key) for _ in range(4)] == [200] * 2 + [429] * 2
    # The second one has served four of these itself.
    assert eventually(lambda: usage(regions.west, operator) >= 12, 20), usage(regions.west, operator)
    assert usage(regions.east, operator) == usage(regions.west, operator)
