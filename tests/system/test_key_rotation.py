"""Keys with two real workers over Redis: rotation under load, networks, last use and verification."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import requests

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend
from tests.system.conftest import Seed, gateway
from tests.system.server import Server, WorkerConnection, document

INSIDE, OUTSIDE = "198.51.100.7", "203.0.113.9"
GRACE_SECONDS = 4


@pytest.fixture(scope="module")
def server(seed: Seed, backend: Backend) -> Iterator[Server]:
    redis = RedisServer()
    redis.start()
    try:
        environment = {"REDIS_URL": redis.url, "TRUSTED_PROXIES": "127.0.0.1/32", "GATEWAY_ENVIRONMENT": "live"}
        with gateway(seed, backend, "--workers", "2", **environment) as server:
            yield server
    finally:
        redis.close()


def created(server: Server, *options: str) -> tuple[str, str]:
    """A new key, and its prefix."""
    answer = json.loads(server.manage("apikey", "create", "made", "--json", *options))
    return answer["key"], answer["prefix"]


def made(server: Server, *options: str) -> tuple[str, str]:
    """A new key that every worker has loaded, and its prefix."""
    key, prefix = created(server, *options)
    for worker in server.connections().values():
        assert eventually(partial(is_loaded, worker, key))
    return key, prefix


def is_loaded(worker: WorkerConnection, key: str) -> bool:
    """Whether the worker knows the key, whatever it may be used for."""
    return worker.get("/api/v1/plain/whoami", key, X_Forwarded_For=INSIDE)[0] != 401


def shown(server: Server, prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.manage("apikey", "show", prefix, "--json"))
    return found


class Load:
    """Requests in a row with the same key, each on a connection of its own."""

    def __init__(self, server: Server, key: str) -> None:
        self._server, self._key = server, key
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.statuses: list[tuple[float, float, int]] = []
        """Of each request: when it began and ended, in Unix time, and its status."""
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = time.time()
            status = self._server.get("/api/v1/plain/whoami", self._key).status_code
            self.statuses.append((began, time.time(), status))
            time.sleep(0.01)


def test_no_request_fails_while_a_key_is_rotated_and_the_old_secret_ends_everywhere(server: Server) -> None:
    old, prefix = made(server, "--all-services")
    assert server.get("/api/v1/plain/whoami", old).status_code == 200
    before = Load(server, old)
    answer = json.loads(server.manage("apikey", "rotate", prefix, "--grace", f"{GRACE_SECONDS}s", "--json"))
    after = Load(server, answer["key"])
    (secret,) = answer["replaced_secrets"]
    end = datetime.fromisoformat(secret["valid_until"]).astimezone(UTC).timestamp()
    time.sleep(max(0.0, end - time.time()) + 3)
    before.stop()
    after.stop()
    accepted = [status for _, ended, status in before.statuses if ended < end]
    refused = [status for began, _, status in before.statuses if began > end + 2]  # `end` is in whole seconds
    assert accepted
    assert set(accepted) == {200}
    assert refused
    assert set(refused) == {401}
    assert {status for *_, status in after.statuses} == {200}
    identities = {server.get("/api/v1/plain/whoami", answer["key"]).text for _ in range(4)}
    assert identities == {f"key:{prefix.rpartition('_')[2]}"}


def test_the_use_of_a_key_and_of_its_old_secret_is_shown(server: Server) -> None:
    old, prefix = made(server, "--all-services")
    json.loads(server.manage("apikey", "rotate", prefix, "--json"))

    def is_written() -> bool:
        for _ in range(5):
            assert server.get("/api/v1/plain/whoami", old, headers={"X-Forwarded-For": INSIDE}).status_code == 200
        found = shown(server, prefix)
        return found["last_used_at"] is not None and found["replaced_secrets"][0]["uses"] > 0

    assert eventually(is_written, 30)
    found = shown(server, prefix)
    assert (found["last_used_from"], found["last_used_service"]) == (INSIDE, "plain")


def test_a_key_may_be_used_only_from_its_network_and_with_its_methods(server: Server) -> None:
    limits = ("--allow", "198.51.100.0/24", "--method", "GET")
    key, _ = made(server, "--all-services", "--scope", "metrics:read", *limits)

    def ask(method: str, path: str, client: str) -> tuple[int, str]:
        response = server.request(method, path, key, headers={"X-Forwarded-For": client})
        return response.status_code, response.json().get("code", "") if response.status_code >= 400 else ""

    assert ask("GET", "/api/v1/plain/whoami", INSIDE)[0] == 200
    for path in ("/api/v1/plain/whoami", "/events?topics=service:plain", "/metrics/cache"):
        assert ask("GET", path, OUTSIDE) == (403, "address_not_allowed")
        assert ask("GET", path, f"::ffff:{OUTSIDE}") == (403, "address_not_allowed")
    assert ask("GET", "/metrics/cache", INSIDE)[0] == 200
    assert ask("POST", "/api/v1/plain/echo", INSIDE) == (403, "forbidden")
    assert ask("GET", "/api/v1/open/whoami", OUTSIDE)[0] == 200  # a service without authentication reads no key


def test_a_service_s_list_holds_for_cached_responses_events_and_other_workers(
    server: Server, backend: Backend, seed: Seed
) -> None:
    def apply(networks: object) -> None:
        service = {
            "targets": backend.targets,
            "auth": "optional",
            "rate_limit": "1000000/m",
            "cache": {"ttl": 300, "scope": "shared"},
            "ip": networks,
        }
        server.manage("config", "apply", "-", "--only", "net", stdin=document({"net": service}))

    workers = list(server.connections().values())

    def ask(client: str) -> tuple[set[int], set[str]]:
        """The statuses of each worker, and where their responses came from."""
        found = [worker.get("/api/v1/net/whoami", X_Forwarded_For=client) for worker in workers * 3]
        return {status for status, *_ in found}, {fields.get("x-cache", "") for _, fields, _ in found}

    apply({"deny": ["203.0.113.0/24"]})
    assert eventually(lambda: ask(INSIDE)[0] == {200})
    assert "HIT" in ask(INSIDE)[1]
    assert ask(OUTSIDE)[0] == {403}
    listed = server.get("/api/v1/", seed.ours, headers={"X-Forwarded-For": OUTSIDE}).json()["services"]
    assert "net" not in [service["name"] for service in listed]
    topic = "/events?topics=service:net"
    assert server.get(topic, seed.ours, headers={"X-Forwarded-For": OUTSIDE}).status_code == 403
    apply({"allow": ["203.0.113.0/24"]})
    assert eventually(lambda: ask(OUTSIDE)[0] == {200} and ask(INSIDE)[0] == {403})
    apply(False)
    assert eventually(lambda: ask(INSIDE)[0] == ask(OUTSIDE)[0] == {200})


def test_a_key_is_verified_for_backends_and_scanners(server: Server, seed: Seed) -> None:
    scanner, _ = made(server, "--scope", "keys:verify")
    key, prefix = made(server, "--scope", "plain", "--owner", "ops@example.com", "--expires", "90d")

    def verify(text: object, by: str = scanner) -> requests.Response:
        return server.request("POST", "/api/keys/verify", by, json={"key": text})

    answer = verify(key).json()
    assert answer["valid"]
    assert (answer["prefix"], answer["owner"], answer["scopes"]) == (prefix, "ops@example.com", ["plain"])
    assert key not in verify(key).text
    mistyped = key[:-1] + ("a" if key[-1] != "a" else "b")
    for unknown in (mistyped, prefix, "x", "gw_abcdefgh_" + "a" * 43):
        response = verify(unknown)
        assert (response.status_code, response.json()["code"]) == (404, "unknown_key")
        assert str(unknown) not in response.text
    assert verify(key, seed.ours).status_code == 403
    assert verify("x" * 300).status_code == 400
    server.manage("apikey", "revoke", prefix)
    assert (verify(key).json()["valid"], verify(key).json()["reason"]) == (False, "revoked")
    assert key not in server.log


def test_a_key_of_another_environment_is_refused(server: Server) -> None:
    live, _ = made(server, "--all-services", "--environment", "live")
    test, _ = created(server, "--all-services", "--environment", "test")
    assert server.get("/api/v1/plain/whoami", live).status_code == 200
    response = server.get("/api/v1/plain/whoami", test)
    assert response.status_code == 401
    assert "'test'" in response.json()["detail"]
    mistyped = server.get("/api/v1/plain/whoami", live[:-1] + ("a" if live[-1] != "a" else "b"))
    assert "checksum" in mistyped.json()["detail"]


def test_a_key_rotates_others_only_within_its_own_scopes(server: Server) -> None:
    rotator, own = made(server, "--scope", "keys:rotate", "--scope", "plain")
    key, narrow = made(server, "--scope", "plain")
    _, wide = made(server, "--all-services")

    def rotate(prefix: str) -> requests.Response:
        return server.request("POST", f"/api/keys/{prefix}/rotate", rotator, json={"grace": "1h"})

    assert rotate("gw_aaaaaaaa").status_code == 404
    response = rotate(narrow)
    assert response.status_code == 200, response.text
    assert eventually(lambda: server.get("/api/v1/plain/whoami", response.json()["key"]).status_code == 200)
    assert server.get("/api/v1/plain/whoami", key).status_code == 200
    assert rotate(wide).status_code == 403
    assert rotate(own).status_code == 200
