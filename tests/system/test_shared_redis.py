"""Two gateways on one Redis, in two databases or with two prefixes: nothing of one is seen by the other."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, failing, ok
from tests.system.conftest import Seed, gateway
from tests.system.server import ROOT, Server

DATABASES = [{"db": "0"}, {"db": "1"}]
PREFIXES = [{"db": "0", "REDIS_PREFIX": "blue"}, {"db": "0", "REDIS_PREFIX": "green:"}]


@pytest.fixture(params=[DATABASES, PREFIXES], ids=["databases", "prefixes"])
def two(
    request: pytest.FixtureRequest, seed: Seed, backend: Backend, own_redis: RedisServer
) -> Iterator[tuple[Server, Server]]:
    with contextlib.ExitStack() as stack:
        made = []
        for environment in request.param:
            variables = {"REDIS_URL": f"{own_redis.url}?db={environment['db']}", **environment}
            del variables["db"]
            made.append(stack.enter_context(gateway(seed, backend, **variables)))
        yield made[0], made[1]


def lookup(server: Server, key: str, path: str) -> str:
    return server.get(f"/api/v1/plain{path}", key).headers["X-Cache"]


def statistics(server: Server, key: str) -> Any:
    return server.get("/metrics", key, headers={"Accept": "application/json"}).json()


def test_nothing_of_one_gateway_is_seen_by_the_other(
    two: tuple[Server, Server], seed: Seed, backend: Backend, own_redis: RedisServer
) -> None:
    one, other = two
    backend.scripts |= {"/bad": failing(), "/good": ok(), "/kept": ok()}
    assert [lookup(one, seed.ours, "/kept") for _ in range(2)] == ["MISS", "HIT"]
    assert [lookup(other, seed.ours, "/kept") for _ in range(2)] == ["MISS", "HIT"]

    for _ in range(5):
        one.get("/api/v1/fragile/bad", seed.ours)
    assert one.get("/api/v1/fragile/good", seed.ours).status_code == 503
    time.sleep(1.2)  # longer than circuits take to be polled
    assert other.get("/api/v1/fragile/good", seed.ours).status_code == 200

    with other.get("/events?topics=service:plain", seed.publisher, stream=True) as stream:
        assert one.request("POST", "/api/v1/plain/kept", seed.ours).status_code == 200  # invalidates
        published = {"topic": "service:plain", "type": "secret", "data": {}}
        assert one.request("POST", "/events", seed.publisher, json=published).status_code in (200, 202)
        assert lookup(one, seed.ours, "/kept") == "MISS"
        assert lookup(other, seed.ours, "/kept") == "HIT"
        published["type"] = "own"
        assert other.request("POST", "/events", seed.publisher, json=published).status_code in (200, 202)
        assert "secret" not in _read_until(stream, "own")

    rapid = [one.get("/api/v1/limited/x", seed.limited).status_code for _ in range(101)]
    assert rapid.count(429) == 1
    assert other.get("/api/v1/limited/x", seed.limited).status_code == 200
    services = statistics(other, seed.reader)["circuitBreakers"]["stats"]
    assert services["fragile"]["failures"] == 0
    assert_prefixes(own_redis)


def _read_until(stream: requests.Response, word: str) -> str:
    text = ""
    line: str
    for line in stream.iter_lines(decode_unicode=True):
        text += line
        if word in line:
            return text
    raise AssertionError(text)


def assert_prefixes(redis: RedisServer) -> None:
    """Every key and channel begins with its gateway's prefix."""
    with redis.client() as client:
        prefixes = set()
        for database in range(2):
            client.select(database)
            prefixes |= {key.partition(b":")[0] for key in client.keys("*")}
        channels = {channel.partition(b":")[0] for channel in client.pubsub_channels()}
    assert len(prefixes) == 2
    assert channels == prefixes


def test_a_user_with_the_documented_rights_serves_a_whole_gateway(
    seed: Seed, backend: Backend, own_redis: RedisServer
) -> None:
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "gateway", *_documented_rules())
        client.acl_log_reset()
    url = own_redis.url.replace("unix://", "unix://gateway:password@")
    backend.scripts |= {"/bad": failing(), "/acl": ok()}
    with gateway(seed, backend, "--workers", "2", REDIS_URL=url) as server:
        assert eventually(lambda: lookup(server, seed.ours, "/acl") == "HIT", 10), server.log
        assert server.request("POST", "/api/v1/plain/acl", seed.ours).status_code == 200
        for _ in range(6):
            server.get("/api/v1/fragile/bad", seed.ours)
        assert server.get("/metrics", seed.reader).status_code == 200
        deep = server.get("/health/deep").json()["checks"]
        assert {deep[name]["status"] for name in ("redis", "channel_layer")} == {"ok"}
    with own_redis.client() as client:
        assert client.acl_log() == []


def _documented_rules() -> list[str]:
    text = (ROOT / "docs" / "redis.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("ACL SETUSER gateway "))
    return line.removeprefix("ACL SETUSER gateway ").split()
