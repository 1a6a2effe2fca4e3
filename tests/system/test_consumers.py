"""Consumers over two gateways of two workers each, on one Redis and one database."""

import json
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, ok
from tests.system.conftest import Seed, gateway
from tests.system.server import Server

pytestmark = pytest.mark.slow
PLANS = {"free": {"quota": [{"amount": 300, "per": "month", "timezone": "Europe/Berlin"}], "concurrency": 50}}
PATH = "/api/v1/flaky/quota"


def codes(servers: tuple[Server, Server], key: str, number: int) -> Counter[str]:
    def call(index: int) -> str:
        response = servers[index % 2].get(PATH, key)
        return str(response.json()["code"]) if response.status_code == 429 else str(response.status_code)

    with ThreadPoolExecutor(16) as threads:
        return Counter(threads.map(call, range(number)))


def test_a_quota_is_exact_and_outlives_redis(seed: Seed, backend: Backend, own_redis: RedisServer) -> None:
    backend.scripts |= {"/quota": ok()}
    with gateway(seed, backend, "--workers", "2", REDIS_URL=own_redis.url) as one:
        shared = {"REDIS_URL": own_redis.url, "DATABASE_URL": one.environment["DATABASE_URL"]}
        document = {"version": 1, "services": {}, "plans": PLANS, "consumers": {"alice": {"plan": "free"}}}
        one.manage(
            "config", "apply", "-", "--only", "plan free", "--only", "consumer alice", stdin=json.dumps(document)
        )
        key = one.manage("apikey", "create", "app", "--all-services", "--consumer", "alice").splitlines()[-1]
        with gateway(seed, backend, "--workers", "2", **shared) as other:
            both = one, other
            assert eventually(lambda: all(server.get(PATH, key).status_code == 200 for server in both))
            used = _used(one, seed)
            assert codes(both, key, 150) == {"200": 150}
            assert eventually(lambda: _used(other, seed) == used + 150)
            assert eventually(lambda: _saved(one) == used + 150)
            own_redis.flush()
            left = 300 - used - 150
            assert codes(both, key, 250) == {"200": left, "quota_exceeded": 250 - left}
            refused = one.get(PATH, key)
            assert refused.json()["detail"].startswith("the plan's quota of 300 requests per month is used up until")
            assert "the quota consumer:" in one.log + other.log


def _saved(server: Server) -> int:
    """What the database has of the quota."""
    with closing(sqlite3.connect(server.database, timeout=30)) as database:
        ((used,),) = database.execute("select sum(used) from routing_quotausage")
    return int(used)


def _used(server: Server, seed: Seed) -> int:
    (quota,) = server.get("/metrics/consumers/alice/quotas", seed.reader).json()["quotas"]
    return int(quota["used"])
