"""Secrets in files, with real gateways: rotation as Docker and Kubernetes do it, and files that become unreadable."""

import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.origin import Peer
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, ok
from tests.system.conftest import UNLIMITED, Seed
from tests.system.server import PYTHON, ROOT, Server, document

KEPT = "the last value read stays in use"


async def credential(peer: Peer) -> None:
    """Respond with the credential that the gateway has sent."""
    await peer.read_body()
    await peer.send(ok(dict(peer.request.fields).get(b"authorization", b"none")))


class KubernetesVolume:
    """A mounted secret: `token` leads to `..data/token`, and an update replaces the link `..data`."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._number = directory, 0
        directory.mkdir()
        self.update("first\n")
        (directory / "token").symlink_to("..data/token")

    def update(self, text: str) -> None:
        previous = self._directory / f"..{self._number}"
        self._number += 1
        current = self._directory / f"..{self._number}"
        current.mkdir()
        (current / "token").write_text(text)
        link = self._directory / "..data_tmp"
        link.symlink_to(current.name)
        link.rename(self._directory / "..data")
        if previous.exists():
            (previous / "token").unlink()
            previous.rmdir()


@pytest.fixture(scope="module")
def echo() -> Iterator[Backend]:
    with Backend({"/credential": credential}) as backend:
        yield backend


@pytest.fixture(scope="module")
def server(seed: Seed, shared_redis: RedisServer, echo: Backend) -> Iterator[Server]:
    environment = {"REDIS_URL": shared_redis.url, "REDIS_PREFIX": "secret-files"}
    server = Server("--workers", "2", seed=seed.database, environment=environment)
    (server.directory / "secrets").mkdir()
    server.environment["SECRETS_FROM"] = str(server.directory / "secrets")
    with server:
        yield server


def has_logged(server: Server, text: str, times: int) -> bool:
    return server.log.count(text) >= times


def secret(server: Server, name: str) -> Path:
    return server.directory / "secrets" / name


def apply(server: Server, backend: Backend, *options: str, **values: str) -> subprocess.CompletedProcess[str]:
    """One service for each value of Authorization."""
    common = {"targets": backend.targets, "rate_limit": UNLIMITED, "cache": False}
    services = {name: {**common, "headers": {"Authorization": value}} for name, value in values.items()}
    return subprocess.run(
        [*PYTHON, "config", "apply", "-", "--prune", *options],
        cwd=ROOT,
        env=server.environment,
        input=document(services),
        capture_output=True,
        text=True,
        check=False,
    )


def sent(server: Server, seed: Seed, name: str) -> set[Any]:
    """What both workers send to the backend of a service, or the status of their refusal."""
    found = set()
    for connection in server.connections().values():
        status, _, body = connection.get(f"/api/v1/{name}/credential", seed.ours)
        found.add(body.decode() if status == 200 else status)
        connection.close()
    return found


def test_a_rotated_secret_is_sent_by_all_workers_and_a_file_that_fails_keeps_the_last_value(
    server: Server, seed: Seed, echo: Backend
) -> None:
    volume = KubernetesVolume(secret(server, "volume"))
    plain = secret(server, "plain")
    plain.write_text("one\r\n")
    values = {"volume": f"Bearer file:{secret(server, 'volume')}/token", "plain": f"file:{plain}"}
    assert apply(server, echo, **values).returncode == 0
    assert eventually(lambda: sent(server, seed, "volume") == {"Bearer first"})
    assert sent(server, seed, "plain") == {"one"}

    volume.update("second")
    replacement = plain.with_suffix(".new")
    replacement.write_text("two")
    replacement.rename(plain)
    assert eventually(lambda: sent(server, seed, "volume") == {"Bearer second"})
    assert eventually(lambda: sent(server, seed, "plain") == {"two"})

    for content in (None, b"", b"x" * (512 * 1024 + 1)):
        expected = server.log.count(KEPT) + 2
        plain.unlink(missing_ok=True)
        if content is not None:
            plain.write_bytes(content)
        assert eventually(partial(has_logged, server, KEPT, expected))
        assert sent(server, seed, "plain") == {"two"}
    assert f"a secret cannot be read: services.plain: headers.Authorization: the file {plain}" in server.log
    assert server.get("/health/deep").json()["checks"]["plain"]["status"] == "degraded"
    plain.write_text("three")
    assert eventually(lambda: sent(server, seed, "plain") == {"three"})
    assert eventually(lambda: server.get("/health/deep").json()["checks"]["plain"]["status"] == "ok", 15)
    for value in ("first", "second", "two", "three"):
        assert value not in server.log


def test_a_file_that_is_missing_at_first_is_a_fault_of_its_service_alone(
    server: Server, seed: Seed, echo: Backend
) -> None:
    missing, there = secret(server, "missing"), secret(server, "there")
    there.write_text("here")
    values = {"broken": f"file:{missing}", "good": f"file:{there}"}
    done = apply(server, echo, "--allow-missing-secrets", **values)
    assert (done.returncode, f"the file {missing} does not exist" in done.stderr) == (3, True)
    assert eventually(lambda: sent(server, seed, "good") == {"here"})
    assert eventually(lambda: sent(server, seed, "broken") == {503})
    missing.write_text("found")
    assert eventually(lambda: sent(server, seed, "broken") == {"found"})


def test_no_file_outside_of_the_directories_is_sent(server: Server, seed: Seed, echo: Backend) -> None:
    outside = server.directory / "outside"
    outside.write_text("private")
    secret(server, "link").symlink_to(outside)
    directory = secret(server, "")
    os.mkfifo(secret(server, "fifo"))
    refused = (
        "/etc/passwd",
        "/proc/self/environ",
        f"{directory}/link",
        str(outside),
        "/run/secrets/other",
    )
    values = {f"refused{index}": f"file:{path}" for index, path in enumerate(refused)}
    dotted = {"dotted": f"file:{directory}/../outside"}
    unreadable = {"directory": f"file:{directory}", "fifo": f"file:{secret(server, 'fifo')}"}
    done = apply(server, echo, "--allow-missing-secrets", **values, **dotted, **unreadable)
    assert done.returncode == 1
    for name, path in zip(values, refused, strict=True):
        assert f"services.{name}.headers.Authorization: file:{path} is not allowed" in done.stderr
    assert "services.dotted.headers.Authorization: file: must be followed by a path without" in done.stderr
    assert done.stderr.count("cannot be read: ") == 2
    assert "private" not in done.stderr
