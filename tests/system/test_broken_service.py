"""A service whose configuration cannot be loaded harms no other, in any worker; nor does an unreadable database."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.processes import eventually
from tests.system.backend import Backend
from tests.system.conftest import UNLIMITED, Seed
from tests.system.server import PYTHON, ROOT, Server, document

NAME = "GATEWAY_SECRET_FORGOTTEN"


@pytest.fixture
def server(seed: Seed, backend: Backend) -> Iterator[Server]:
    with Server(seed=seed.database) as server:
        server.manage("config", "apply", "-", stdin=document(services(backend)))
        assert eventually(lambda: server.get("/api/v1/good/x", seed.ours).status_code == 200)
        yield server


def services(backend: Backend, **broken: Any) -> dict[str, Any]:
    common = {"targets": backend.targets, "rate_limit": UNLIMITED, "cache": False}
    return {"good": common, "open": {**common, "auth": "none"}, "broken": {**common, "auth": "none", **broken}}


def apply(server: Server, services: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    command = [*PYTHON, "config", "apply", "-", *options]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=server.environment,
        input=document(services),
        capture_output=True,
        text=True,
        check=False,
    )


def replace_worker(server: Server) -> None:
    (worker,) = server.workers
    os.kill(worker, signal.SIGKILL)
    assert eventually(lambda: server.workers not in ([], [worker]))


def statuses(server: Server, key: str) -> list[int]:
    """Of a good key, of no credential, and of the broken service with and without a credential."""
    requests = (("good", key), ("open", None), ("broken", key), ("broken", None))
    return [server.get(f"/api/v1/{name}/x", sent).status_code for name, sent in requests]


def test_apply_refuses_a_missing_secret_and_changes_nothing(server: Server, backend: Backend, seed: Seed) -> None:
    done = apply(server, services(backend, headers={"Authorization": f"env:{NAME}"}))
    assert done.returncode == 1
    assert f"services.broken.headers.Authorization: the environment variable {NAME} is not set" in done.stderr
    replace_worker(server)
    assert eventually(lambda: statuses(server, seed.ours) == [200, 200, 200, 200])


def test_a_service_that_is_taken_out_is_503_in_old_and_new_workers_and_after_a_restart(
    server: Server, backend: Backend, seed: Seed
) -> None:
    done = apply(server, services(backend, headers={"Authorization": f"env:{NAME}"}), "--allow-missing-secrets")
    assert done.returncode == 3
    assert "out of service: broken" in done.stderr
    expected = [200, 200, 503, 503]
    assert eventually(lambda: statuses(server, seed.ours) == expected)
    problem = server.get("/api/v1/broken/x").json()
    assert (problem["code"], problem["service"]) == ("service_misconfigured", "broken")
    assert NAME not in str(problem)
    replace_worker(server)
    assert eventually(lambda: server.get("/health/ready").status_code == 200)
    assert statuses(server, seed.ours) == expected
    server.terminate()
    server.wait()
    server.start()
    assert statuses(server, seed.ours) == expected
    assert "the service is out of service: services.broken: headers.Authorization" in server.log
    checks = server.get("/health/deep").json()["checks"]
    assert [checks[name]["status"] for name in ("good", "open", "broken")] == ["ok", "ok", "down"]
    metrics = server.get("/metrics", seed.reader, headers={"Accept": "text/plain"}).text
    assert 'gateway_service_config_valid{service="broken"} 0.0' in metrics
    assert 'gateway_service_config_valid{service="good"} 1.0' in metrics
    server.environment[NAME] = "found"
    server.terminate()
    server.wait()
    server.start()
    assert statuses(server, seed.ours) == [200, 200, 200, 200]


def test_a_bad_value_in_the_database_leaves_the_last_valid_configuration_and_takes_new_workers_of_one_service(
    server: Server, seed: Seed
) -> None:
    with sqlite3.connect(server.database) as database:
        database.execute("UPDATE routing_service SET cache = '{\"from_a_later_version\": 1}' WHERE name = 'broken'")
        database.execute("UPDATE routing_service SET cost_per_call = 1 WHERE name = 'good'")
        database.execute("UPDATE routing_configurationversion SET number = number + 1")
    assert eventually(lambda: "the last valid one stays in use: services.broken: cache" in server.log)
    assert statuses(server, seed.ours) == [200, 200, 200, 200]
    assert server.get("/health/deep").json()["checks"]["broken"]["status"] == "degraded"
    replace_worker(server)
    assert eventually(lambda: server.get("/health/ready").status_code == 200)
    assert statuses(server, seed.ours) == [200, 200, 503, 503]


def test_a_worker_that_cannot_read_the_database_answers_503_until_it_can(server: Server, seed: Seed) -> None:
    """Never 401 to a key that it has not been able to look up, on any path."""
    moved = server.database.with_suffix(".moved")
    server.database.rename(moved)
    server.database.write_bytes(b"this is no database" * 100)
    replace_worker(server)
    assert eventually(lambda: server.get("/health").status_code == 200)
    for path in ("/api/v1/good/x", "/api/v1/open/x", "/api/v1/", "/metrics", "/events?topics=news", "/admin/"):
        for key in (seed.ours, None):
            response = server.get(path, key)
            assert (response.status_code, response.json()["code"]) == (503, "configuration_unavailable"), path
    assert server.get("/x", headers={"Host": "crm.example"}).status_code == 503
    assert server.get("/health/ready").status_code == 503
    for path in ("/ws/events/", "/api/v1/good/socket"):
        with (
            connect(f"ws://127.0.0.1:{server.port}{path}", additional_headers={"X-API-Key": seed.ours}) as socket,
            pytest.raises(ConnectionClosed) as closed,
        ):
            socket.recv(10)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "configuration_unavailable")
    for leftover in server.directory.glob("gateway.sqlite3*"):
        if leftover != moved:
            leftover.unlink()
    moved.rename(server.database)
    assert eventually(lambda: server.get("/api/v1/good/x", seed.ours).status_code == 200, 15)
    assert server.get("/health/ready").status_code == 200


def test_a_start_with_a_file_whose_secret_is_missing_serves_the_other_services(seed: Seed, backend: Backend) -> None:
    server = Server(seed=seed.database)
    file = server.directory / "gateway.yaml"
    file.write_text(document(services(backend, headers={"Authorization": f"env:{NAME}"})))
    server.environment["GATEWAY_CONFIG"] = str(file)
    with server:
        assert statuses(server, seed.ours) == [200, 200, 503, 503]
