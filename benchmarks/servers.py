"""The servers of the benchmarks: origin, gateway as started by `rungateway`, Redis, and the baseline server."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

import msgspec

from benchmarks import origin
from benchmarks.baseline import Recording
from benchmarks.processes import ROOT, NotStarted, accepts, free_port, responds, server_process

PEERS: Final = Path(__file__).parent / "compare" / "peers"
UNLIMITED: Final = "999999999/m"
KEY_PROPAGATION_SECONDS: Final = 1.5
"""Until every worker accepts a new API key."""
CONFIGURATION: Final = """
version: 1
services:
  bench:
    targets: [{url: "$origin"}]
    cache: {ttl: 3600}
    max_concurrency: 1024
    routes:
      - {path: "/miss/*", cache: off}
  failing:
    targets: [{url: "$origin"}]
    cache: off
    breaker: {failure_threshold: 1, open_for: 1h}
  limited:
    targets: [{url: "$origin"}]
    cache: off
    rate_limit: "1/h"
"""


class RunningGateway(NamedTuple):
    """`key` is an API key for every service; `pid` the main process."""

    address: str
    key: str
    pid: int

    @property
    def services(self) -> str:
        return f"{self.address}/api/v1"


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """A directory for a server's files, in memory if /dev/shm exists, so that no server waits for a disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a private directory is created in it
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory if memory.is_dir() else None) as name:
        path = Path(name)
        path.chmod(0o755)  # readable for servers that change their user
        yield path


def render(name: str, directory: Path, values: Mapping[str, str | int]) -> Path:
    """Write a server's configuration file into `directory`, with each `$name` substituted."""
    file = directory / Path(name).name
    file.write_text(Template((PEERS / name).read_text()).substitute(values))
    return file


@contextmanager
def backend() -> Iterator[str]:
    """Run the origin and yield its address: nginx serving files from memory, or benchmarks.origin without nginx."""
    nginx = shutil.which("nginx")
    if nginx is None:
        with origin.run() as address:
            yield address
        return
    with temporary_directory() as directory:
        for name, body in {"small": origin.JSON, "ten": origin.TEN, "large": origin.LARGE}.items():
            (directory / name).write_bytes(body)
        port = free_port()
        file = render("origin.nginx.conf", directory, {"port": port, "folder": str(directory)})
        address = f"http://127.0.0.1:{port}"
        with server_process([nginx, "-c", str(file)], responds(f"{address}/small")):
            yield address


@contextmanager
def redis() -> Iterator[int]:
    """Run an empty Redis without persistence and yield its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotStarted("redis-server is not installed")
    port = free_port()
    with temporary_directory() as directory:
        command = [program, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(directory)]
        with server_process(command, accepts(port)):
            yield port


@contextmanager
def gateway(
    origin_url: str,
    *,
    workers: int = 1,
    redis_port: int | None = None,
    configuration: str = CONFIGURATION,
    environment: Mapping[str, str] | None = None,
    scopes: Sequence[str] = (),
) -> Iterator[RunningGateway]:
    """Run the gateway, with an API key for every service and for `scopes`.

    Rate limiting is on but never reached, the access log is off.
    """
    with temporary_directory() as directory:
        file = directory / "gateway.yaml"
        file.write_text(Template(configuration).substitute(origin=origin_url))
        port = free_port()
        variables = {
            "SECRET_KEY": "for benchmarks alone, and long enough for Django's own checks",
            "DRAIN_SECONDS": "0",
            "DATABASE_URL": f"sqlite:///{directory}/gateway.sqlite3",
            "GATEWAY_CONFIG": str(file),
            "PORT": str(port),
            "WORKERS": str(workers),
            "ACCESS_LOG": "off",
            "MAX_CONNECTIONS_PER_CLIENT": "off",
            "RATE_LIMIT": UNLIMITED,
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0" if redis_port else "",
            **(environment or {}),
        }
        address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "manage.py", "rungateway"]
        with server_process(command, responds(f"{address}/health/ready"), environment=variables) as pid:
            yield RunningGateway(address, create_key(variables, scopes), pid)


@contextmanager
def baseline(origin_url: str, recording: Recording, *server: str) -> Iterator[str]:
    """Run benchmarks.baseline on the gateway's server, or on the one named, and yield its address."""
    with temporary_directory() as directory:
        file = directory / "recording"
        file.write_bytes(msgspec.msgpack.encode(recording))
        port = free_port()
        variables = {"BENCHMARK_ORIGIN": origin_url, "BENCHMARK_RESPONSES": str(file)}
        command = [sys.executable, "-m", "benchmarks.baseline", str(port), *server]
        with server_process(command, accepts(port), environment=variables):
            yield f"http://127.0.0.1:{port}"


def create_key(environment: Mapping[str, str], scopes: Sequence[str]) -> str:
    options = [word for scope in ("*", *scopes) for word in ("--scope", scope)]
    done = subprocess.run(
        [sys.executable, "manage.py", "apikey", "create", "bench", *options],
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", os.defpath), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    time.sleep(KEY_PROPAGATION_SECONDS)
    return done.stdout.split()[-1]
