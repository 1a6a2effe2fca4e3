"""The gateways that are restarted, and the load balancers before them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Final

from benchmarks.processes import ROOT, NotStarted, accepts, children, free_port, responds, server_process
from benchmarks.servers import temporary_directory

DRAIN_SECONDS: Final = 3
GRACE_SECONDS: Final = 5
_START_SECONDS: Final = 60.0
_FILES: Final = Path(__file__).parent
COMMANDS: Final[dict[str, Callable[[Path], list[str]]]] = {
    "haproxy": lambda file: ["haproxy", "-db", "-q", "-f", str(file)],
    "nginx": lambda file: ["nginx", "-c", str(file)],
}
"""By name, how a load balancer is started with its configuration file."""
CONFIGURATIONS: Final = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}


class Machine:
    """One gateway with its workers. It shares Redis and the database with others."""

    def __init__(self, variables: Mapping[str, str], workers: int) -> None:
        self.port = free_port()
        self._variables = {
            "PATH": os.environ.get("PATH", os.defpath),
            **variables,
            "PORT": str(self.port),
            "WORKERS": str(workers),
            "DRAIN_SECONDS": str(DRAIN_SECONDS),
            "GRACE_SECONDS": str(GRACE_SECONDS),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[int]:
        """The workers' process ids."""
        return children(self._process.pid) if self._process else []

    def start(self) -> None:
        """Start and wait until it is ready. Raises NotStarted."""
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", "rungateway"], cwd=ROOT, env=self._variables, stdin=subprocess.DEVNULL
        )
        deadline, ready = time.monotonic() + _START_SECONDS, responds(f"{self.address}/health/ready")
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotStarted("the gateway did not start")
            time.sleep(0.05)

    def stop(self) -> int:
        """Drain and stop. Returns the exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(DRAIN_SECONDS + GRACE_SECONDS + 10)
        self._process = None
        return status


@contextmanager
def load_balancer(name: str, first: Machine, second: Machine) -> Iterator[str]:
    """Run it before two machines and yield its address. Raises NotStarted if it is not installed."""
    with temporary_directory() as directory:
        port, source = free_port(), _FILES / CONFIGURATIONS[name]
        values = {"port": port, "first": first.port, "second": second.port, "folder": str(directory)}
        file = directory / source.name
        file.write_text(Template(source.read_text()).substitute(values))
        try:
            with server_process(COMMANDS[name](file), accepts(port)):
                yield f"http://127.0.0.1:{port}"
        except FileNotFoundError:
            raise NotStarted(f"{name} is not installed") from None
