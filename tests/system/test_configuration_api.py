"""The configuration API of two real workers over Redis."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import requests

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.routing.openapi.documents import large
from tests.seed import create_keys
from tests.system.backend import Backend
from tests.system.server import PYTHON, ROOT, Server

JSON = {"Content-Type": "application/json"}
LIVE_SECONDS = 1.0


@pytest.fixture(scope="module")
def keys() -> dict[str, str]:
    return {}


@pytest.fixture(scope="module")
def server(keys: dict[str, str]) -> Iterator[Server]:
    redis = RedisServer()
    redis.start()
    server = Server("--workers", "2", migrated=True, environment={"REDIS_URL": redis.url})
    scopes = {"config": ("config:read", "config:write"), "reader": ("config:read",), "caller": ("*",)}
    keys |= create_keys(server.manage, scopes)
    try:
        with server:
            yield server
    finally:
        redis.close()


def put(server: Server, key: str, path: str, body: Any, match: str = "*") -> requests.Response:
    return server.request("PUT", f"/api/config{path}", key, data=json.dumps(body), headers={**JSON, "If-Match": match})


@pytest.mark.alone
def test_a_change_is_live_in_all_workers_within_a_second(
    server: Server, keys: dict[str, str], backend: Backend
) -> None:
    workers = server.connections().values()
    assert len(workers) == 2
    crm = {"targets": backend.targets, "cache": False}
    assert put(server, keys["config"], "/services/crm", crm).status_code == 201

    def statuses(expected: int) -> bool:
        return all(worker.get("/api/v1/crm/whoami", keys["caller"])[0] == expected for worker in workers)

    for enabled, expected in ((True, 200), (False, 503), (True, 200)):
        changed_at = time.monotonic()
        assert put(server, keys["config"], "/services/crm", {**crm, "enabled": enabled}).status_code == 200
        answered_at = time.monotonic()
        assert eventually(partial(statuses, expected), 10)
        # The second begins at the response; a busy machine delays the request for it as well.
        assert time.monotonic() - answered_at < LIVE_SECONDS + (answered_at - changed_at)


def test_of_concurrent_changes_of_one_version_one_wins(server: Server, keys: dict[str, str]) -> None:
    put(server, keys["config"], "/services/raced", {"targets": [{"url": "http://127.0.0.1:9"}]})
    file = server.get("/api/config", keys["config"])
    document, found = file.json(), []

    def change(number: int) -> None:
        mine = json.loads(json.dumps(document))
        mine["services"]["raced"]["rate_limit"] = f"{number}/s"
        found.append((put(server, keys["config"], "", mine, file.headers["ETag"]), f"{number}/s"))

    threads = [threading.Thread(target=change, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(response.status_code for response, _ in found) == [200, *[412] * 7]
    (winner,) = [rate for response, rate in found if response.status_code == 200]
    assert server.get("/api/config/services/raced", keys["config"]).json()["rate_limit"] == winner


def test_the_command_compares_with_the_running_gateway(server: Server, keys: dict[str, str]) -> None:
    file = server.directory / "exported.yaml"
    exported = server.get("/api/config", keys["reader"], headers={"Accept": "application/yaml"}).text
    assert exported == server.manage("config", "export")

    def diff(text: str, key: str = "reader") -> tuple[int, str]:
        file.write_text(text)
        done = subprocess.run(
            [*PYTHON, "config", "diff", str(file), "--url", server.address],
            cwd=ROOT,
            env={**server.environment, "GATEWAY_KEY": keys[key]},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    assert diff(exported) == (0, "no differences\n")
    status, shown = diff(exported.replace("services:\n", "services:\n  extra: {targets: [{url: 'http://a'}]}\n"))
    assert (status, shown) == (1, "+ extra\n")
    assert diff(exported, "caller")[0] == 2


def test_an_imported_document_is_served_and_its_routes_are_live(
    server: Server, keys: dict[str, str], backend: Backend
) -> None:
    put(server, keys["config"], "/services/large", {"targets": backend.targets, "cache": False})
    report = put(server, keys["config"], "/services/large/openapi?routes=1", large())
    assert (report.status_code, len(report.json()["added"])) == (200, 200)
    assert server.get("/api/config/services/large/openapi", keys["reader"]).json() == large()
    allowed = "DELETE, GET, HEAD, PATCH"
    assert eventually(
        lambda: all(
            worker.get("/api/v1/large/resource3/7", keys["caller"])[0] != 405
            and server.request("POST", "/api/v1/large/resource3/7", keys["caller"]).headers.get("Allow") == allowed
            for worker in server.connections().values()
        )
    )


def test_a_body_that_does_not_end_and_one_that_is_too_large_harm_nothing(server: Server, keys: dict[str, str]) -> None:
    for size, kind in ((300_000, "application/yaml"), (6_000_000, "application/json")):
        response = server.request(
            "PUT", "/api/config", keys["config"], data=b" " * size, headers={"Content-Type": kind, "If-Match": "*"}
        )
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
    chunks = (b" " * 1_000 for _ in range(400))
    response = server.request(
        "PUT", "/api/config", keys["config"], data=chunks, headers={"Content-Type": "text/yaml", "If-Match": "*"}
    )
    assert response.status_code == 413
