"""A backend of a private authority that demands client certificates, with a real gateway: renewal, checks, commands."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Issued
from tests.internal_ca import NAME, InternalCa, TlsServer, tls_server, validity
from tests.processes import eventually
from tests.system.conftest import UNLIMITED, Seed
from tests.system.server import PYTHON, ROOT, Server, document

CA = InternalCa()


@pytest.fixture(scope="module")
def backend() -> Iterator[TlsServer]:
    with tls_server(CA.server(NAME, addresses=()), clients=CA.pem) as server:
        yield server


@pytest.fixture(scope="module")
def server(seed: Seed) -> Iterator[Server]:
    server = Server(seed=seed.database)
    (server.directory / "secrets").mkdir()
    server.environment["SECRETS_FROM"] = str(server.directory / "secrets")
    write(server, "ca.pem", CA.pem)
    with server:
        yield server


def write(server: Server, name: str, content: str) -> str:
    """As programs that renew certificates do. Returns the reference."""
    path: Path = server.directory / "secrets" / name
    path.with_suffix(".new").write_text(content)
    path.with_suffix(".new").rename(path)
    return f"file:{path}"


def identity(issued: Issued) -> str:
    return issued.key_pem + issued.pem


def config(server: Server, *words: str, tls: dict[str, Any], backend: TlsServer) -> subprocess.CompletedProcess[str]:
    targets = [{"url": backend.url, "tls": {"server_name": NAME}}]
    health = {"path": "/checked", "interval": "100ms"}
    service = {"targets": targets, "tls": tls, "health": health, "rate_limit": UNLIMITED, "cache": False}
    return subprocess.run(
        [*PYTHON, "config", words[0], "-", *words[1:]],
        cwd=ROOT,
        env=server.environment,
        input=document({"internal": service}),
        capture_output=True,
        text=True,
        check=False,
    )


def served(server: Server, seed: Seed) -> int:
    return server.get("/api/v1/internal/", seed.ours).status_code


def test_a_renewed_certificate_is_used_without_a_restart(server: Server, seed: Seed, backend: TlsServer) -> None:
    own = write(server, "gateway.pem", identity(CA.client("first")))
    tls = {"ca": f"file:{server.directory}/secrets/ca.pem", "certificate": own}
    done = config(server, "apply", "--prune", tls=tls, backend=backend)
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: served(server, seed) == 200)
    assert eventually(lambda: "/checked" in backend.paths)
    assert set(backend.clients) == {"first"}
    assert set(backend.names) == {NAME}

    write(server, "gateway.pem", identity(CA.client("second")))
    assert eventually(lambda: served(server, seed) == 200 and backend.clients[-1] == "second")
    assert eventually(lambda: backend.clients[-5:] == ["second"] * 5)

    write(server, "gateway.pem", "no certificate")
    assert eventually(lambda: "has no certificate in PEM" in server.log)
    assert served(server, seed) == 200, "the last valid one stays in use"
    for shown in (server.log, server.manage("config", "export")):
        assert "PRIVATE KEY" not in shown


def test_commands_refuse_what_cannot_work(server: Server, backend: TlsServer) -> None:
    expired = write(server, "expired.pem", identity(CA.client(**validity(-9, -1))))
    for words in (("validate",), ("apply", "--prune")):
        done = config(server, *words, tls={"certificate": expired}, backend=backend)
        assert done.returncode == 1
        assert "services.internal.tls.certificate: expired on " in done.stderr
    other = write(server, "other.key", CA.client().key_pem)
    pair = {"certificate": expired, "key": other}
    done = config(server, "validate", tls=pair, backend=backend)
    assert (done.returncode, "tls.key: the key belongs to another certificate" in done.stderr) == (1, True)
    done = config(server, "validate", tls={"ca": "file:/etc/passwd"}, backend=backend)
    assert (done.returncode, "is not allowed" in done.stderr) == (1, True)
