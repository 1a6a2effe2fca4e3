"""A gateway and a Redis for a benchmark to watch: processes of their own, and the memory they take."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import requests

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gateway import free_port


class Running(NamedTuple):
    """A gateway: its address, a key for everything, and its main process."""

    base: str
    key: str
    pid: int


@contextmanager
def gateway(configuration: str, *, workers: int = 1, redis: str = "") -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as folder:
        file, port = Path(folder, "gateway.yaml"), free_port()
        file.write_text(configuration)
        environment = {
            **os.environ,
            "SECRET_KEY": "for this benchmark alone",
            "DATABASE_URL": f"sqlite:///{folder}/gateway.sqlite3",
            "GATEWAY_CONFIG": str(file),
            "ACCESS_LOG": "off",
            "RATE_LIMIT": "999999999/m",
            "REDIS_URL": redis,
        }
        manage, base = [sys.executable, "manage.py"], f"http://127.0.0.1:{port}"
        words = [*manage, "rungateway", "--port", str(port), "--workers", str(workers)]
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            until(lambda: answers(f"{base}/health/ready"), 60)
            create = [*manage, "apikey", "create", "bench", "--scope", "*", "--scope", "metrics:write"]
            made = subprocess.run(create, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)  # noqa: S603
            key = made.stdout.split()[-1]
            until(lambda: requests.get(f"{base}/api/v1/", headers={"X-API-Key": key}, timeout=5).ok, 10)
            time.sleep(1.5)  # until every worker knows the key
            yield Running(base, key, process.pid)
        finally:
            process.terminate()
            process.wait()


@contextmanager
def redis_server() -> Iterator[str]:
    """The address of one of our own, without a disk."""
    binary = shutil.which("redis-server") or sys.exit("this needs redis-server: apt-get install redis-server")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "socket")
        words = [binary, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", folder]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)  # noqa: S603
        try:
            until(path.exists, 20)
            yield f"unix://{path}"
        finally:
            process.terminate()
            process.wait()


def resident(pid: int) -> int:
    """Bytes of memory; 0 for a process that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in Path(task, "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(child))]


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.ConnectionError:
        return False


def until(holds: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("it did not come up")
        time.sleep(0.05)


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201
