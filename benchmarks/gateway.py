"""The running gateway beside its own ceilings: `python benchmarks/gateway.py [seconds a round]`; needs `wrk`.

One worker, authentication by API key and the rate limit on, the access log off, 32 connections, 1.8 kB of JSON.
The contestants take turns in short rounds, so that a busy moment of the machine hits all alike; only ratios count.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import requests

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.origin import running

ROUNDS: Final = 5
CONNECTIONS: Final = 32
CONFIGURATION: Final = """
version: 1
services:
  bench:
    targets: [{{url: "{origin}"}}]
    cache: {{ttl: 3600}}
    routes:
      - {{path: "/miss", cache: off}}
  failing:
    targets: [{{url: "{origin}"}}]
    cache: off
    breaker: {{failure_threshold: 1, open_for: 1h}}
"""


class Contestant(NamedTuple):
    """`ceiling` names the contestant it is measured against, `aim` the least share of that one's speed."""

    name: str
    url: str
    ceiling: str = ""
    aim: float = 0.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(command: list[str], environment: dict[str, str], url: str) -> Iterator[None]:
    """A server, from when it answers `url` until it has ended."""
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        while not _answers(url):
            if process.poll() is not None:
                raise SystemExit(f"{command[1:4]} ended")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.ConnectionError:
        return False


@contextmanager
def floor(application: str, origin: str) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/miss"
    command = [sys.executable, "-m", "granian", "--interface", "asginl", "--loop", "uvloop", "--http", "1", "--no-log"]
    with serving([*command, "--port", str(port), f"benchmarks.floor:{application}"], {"BENCHMARK_ORIGIN": origin}, url):
        yield url


@contextmanager
def gateway(origin: str) -> Iterator[tuple[str, str]]:
    """The gateway's address and a key."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "gateway.yaml")
        file.write_text(CONFIGURATION.format(origin=origin))
        port = free_port()
        environment = {
            "SECRET_KEY": "for this benchmark alone",
            "DATABASE_URL": f"sqlite:///{folder}/gateway.sqlite3",
            "GATEWAY_CONFIG": str(file),
            "PORT": str(port),
            "ACCESS_LOG": "off",
            "RATE_LIMIT": "999999999/m",
            "REDIS_URL": os.environ.get("REDIS_URL", ""),
        }
        base = f"http://127.0.0.1:{port}"
        manage = [sys.executable, "manage.py"]
        with serving([*manage, "rungateway"], environment, f"{base}/health/ready"):
            made = subprocess.run(  # noqa: S603
                [*manage, "apikey", "create", "bench"],
                cwd=ROOT,
                env={**os.environ, **environment},
                check=True,
                capture_output=True,
                text=True,
            )
            time.sleep(1.5)  # until every worker knows the key
            yield f"{base}/api/v1", made.stdout.split()[-1]


def measure(url: str, key: str, seconds: int) -> float:
    """Requests a second."""
    wrk = shutil.which("wrk") or sys.exit("this needs wrk: apt-get install wrk")
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"X-API-Key: {key}", url]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    found = re.search(r"Requests/sec:\s+([0-9.]+)", told)
    if found is None:
        raise SystemExit(told)
    return float(found[1])


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with ExitStack() as stack:
        origin = stack.enter_context(running())
        answering = stack.enter_context(floor("answering", origin))
        proxying = stack.enter_context(floor("proxying", origin))
        base, key = stack.enter_context(gateway(origin))
        contestants = [
            Contestant("raw ASGI", answering),
            Contestant("raw proxy", proxying),
            Contestant("hit", f"{base}/bench/hit", "raw ASGI", 0.6),
            Contestant("miss", f"{base}/bench/miss", "raw proxy", 0.8),
            Contestant("open circuit", f"{base}/failing/fail", "raw ASGI", 0.6),
            Contestant("401", f"{base}/nobody/x", "raw ASGI", 0.6),
        ]
        for contestant in contestants:
            requests.get(contestant.url, headers={"X-API-Key": key}, timeout=5)
        speeds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
        for _ in range(ROUNDS):
            for contestant in contestants:
                held = "wrong" if contestant.name == "401" else key
                speeds[contestant.name].append(measure(contestant.url, held, seconds))
        report(contestants, {name: median(found) for name, found in speeds.items()})


def report(contestants: list[Contestant], speeds: dict[str, float]) -> None:
    print(f"{'':<14}{'requests/s':>12}{'ratio':>8}  of")  # noqa: T201
    for name, _, ceiling, aim in contestants:
        ratio = f"{speeds[name] / speeds[ceiling]:>8.2f}  {ceiling} (aim {aim})" if ceiling else ""
        print(f"{name:<14}{speeds[name]:>12,.0f}{ratio}")  # noqa: T201


if __name__ == "__main__":
    main()
