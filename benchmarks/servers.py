"""What every benchmark stands on: the origin, the gateway as its users start it, a Redis, and the server's floor."""

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
from benchmarks.floor import Answers
from benchmarks.processes import ROOT, NotStarted, accepts, answers, free_port, serving

PEERS: Final = Path(__file__).parent / "compare" / "peers"
PLENTY: Final = "999999999/m"
KNOWN_SECONDS: Final = 1.5
"""Until every worker knows a new key."""
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


class Running(NamedTuple):
    """A gateway: its address, a key for every service, its main process."""

    address: str
    key: str
    pid: int

    @property
    def services(self) -> str:
        return f"{self.address}/api/v1"


@contextmanager
def folder() -> Iterator[Path]:
    """A place for a server's own files, in memory where the machine has one: no contestant waits for a disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it
    with tempfile.TemporaryDirectory(prefix="bench-", dir=memory if memory.is_dir() else None) as made:
        path = Path(made)
        path.chmod(0o755)  # servers that change their user read it
        yield path


def filled(name: str, place: Path, values: Mapping[str, str | int]) -> Path:
    """A peer's configuration, with ports and addresses filled in: `$name` in the file."""
    written = place / Path(name).name
    written.write_text(Template((PEERS / name).read_text()).substitute(values))
    return written


@contextmanager
def backend() -> Iterator[str]:
    """The origin's address: nginx with files in memory, or our own where that is not installed."""
    nginx = shutil.which("nginx")
    if nginx is None:
        with origin.running() as address:
            yield address
        return
    with folder() as place:
        for name, body in {"small": origin.JSON, "ten": origin.TEN, "large": origin.LARGE}.items():
            (place / name).write_bytes(body)
        port = free_port()
        file = filled("origin.nginx.conf", place, {"port": port, "folder": str(place)})
        address = f"http://127.0.0.1:{port}"
        with serving([nginx, "-c", str(file)], answers(f"{address}/small")):
            yield address


@contextmanager
def redis() -> Iterator[int]:
    """The port of an empty Redis that writes nothing down."""
    program = shutil.which("redis-server")
    if program is None:
        raise NotStarted("redis-server is not installed")
    port = free_port()
    with folder() as place:
        command = [program, "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(place)]
        with serving(command, accepts(port)):
            yield port


@contextmanager
def gateway(
    origin_url: str,
    *,
    workers: int = 1,
    redis_port: int | None = None,
    configuration: str = CONFIGURATION,
    environment: Mapping[str, str] | None = None,
    rights: Sequence[str] = (),
) -> Iterator[Running]:
    """The gateway with a key that may use every service and has these rights beside; limits on and out of reach, the
    access log off.
    """
    with folder() as place:
        file = place / "gateway.yaml"
        file.write_text(Template(configuration).substitute(origin=origin_url))
        port = free_port()
        given = {
            "SECRET_KEY": "for benchmarks alone, and long enough for Django's own checks",
            "DATABASE_URL": f"sqlite:///{place}/gateway.sqlite3",
            "GATEWAY_CONFIG": str(file),
            "PORT": str(port),
            "WORKERS": str(workers),
            "ACCESS_LOG": "off",
            "RATE_LIMIT": PLENTY,
            "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0" if redis_port else "",
            **(environment or {}),
        }
        address = f"http://127.0.0.1:{port}"
        command = [sys.executable, "manage.py", "rungateway"]
        with serving(command, answers(f"{address}/health/ready"), environment=given) as pid:
            yield Running(address, _key(given, rights), pid)


@contextmanager
def floor(origin_url: str, recorded: Answers, *server: str) -> Iterator[str]:
    """Where the gateway's server is, or another, with next to nothing on it: answers as recorded, or a bare proxy."""
    with folder() as place:
        file = place / "answers"
        file.write_bytes(msgspec.msgpack.encode(recorded))
        port = free_port()
        given = {"BENCHMARK_ORIGIN": origin_url, "BENCHMARK_ANSWERS": str(file)}
        command = [sys.executable, "-m", "benchmarks.floor", str(port), *server]
        with serving(command, accepts(port), environment=given):
            yield f"http://127.0.0.1:{port}"


def _key(environment: Mapping[str, str], rights: Sequence[str]) -> str:
    scopes = [word for scope in ("*", *rights) for word in ("--scope", scope)]
    made = subprocess.run(
        [sys.executable, "manage.py", "apikey", "create", "bench", *scopes],
        cwd=ROOT,
        env={"PATH": os.environ.get("PATH", os.defpath), **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    time.sleep(KNOWN_SECONDS)
    return made.stdout.split()[-1]
