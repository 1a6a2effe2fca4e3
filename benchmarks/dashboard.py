"""The cost of dashboards and scrapes for the data plane: `make dashboard-cost ARGS="SECONDS ROUNDS"`; needs `wrk`.

One worker serves cache hits at full load, in pairs of rounds: without observers, and with three dashboards on the live
feed and one scrape of `/metrics` per second. The median ratio of the throughputs has to be at least 0.98. The second
line has the ratio of requests per CPU second, which other load on the machine affects less.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import FOUND
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final, NamedTuple

import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from benchmarks import servers, wrk
from benchmarks.origin import run as run_origin
from benchmarks.processes import ROOT, children
from benchmarks.wrk import Load

ROUNDS: Final = 10
DASHBOARDS: Final = 3
SCRAPE_SECONDS: Final = 1.0
THRESHOLD: Final = 0.98
PASSWORD: Final = "for this benchmark alone, and long enough for Django's own checks"  # noqa: S105
PREPARE: Final = f"""
from django.contrib.auth import get_user_model
from django.core.management import call_command
get_user_model().objects.create_superuser("ada", password={PASSWORD!r})
call_command("apikey", "create", "scraper", "--scope", "metrics:read")
"""
SERVICES: Final = 5
"""As many as the demonstration has; a snapshot of the feed contains every service."""
CONFIGURATION: Final = "\n".join(
    [
        "version: 1",
        "services:",
        *(f'  s{number}: {{targets: [{{url: "$origin"}}], cache: {{ttl: 3600}}}}' for number in range(SERVICES)),
    ]
)


class Target(NamedTuple):
    """A gateway; `key` is an API key for its services, `metrics_key` one for its metrics."""

    address: str
    pid: int
    key: str
    metrics_key: str


@contextmanager
def gateway(origin: str, configuration: str = CONFIGURATION, redis_port: int | None = None) -> Iterator[Target]:
    with servers.temporary_directory() as directory:
        variables = {"SECRET_KEY": PASSWORD, "DATABASE_URL": f"sqlite:///{directory}/gateway.sqlite3"}
        options: Any = {"configuration": configuration, "redis_port": redis_port, "environment": variables}
        with servers.gateway(origin, **options) as running:
            done = subprocess.run(
                [sys.executable, "manage.py", "shell", "--no-imports", "-c", PREPARE],
                cwd=ROOT,
                env={"PATH": os.environ.get("PATH", os.defpath), **variables},
                check=True,
                capture_output=True,
                text=True,
            )
            yield Target(running.address, running.pid, running.key, done.stdout.split()[-1])


class Round(NamedTuple):
    """Requests per second, and requests per second of the gateway's CPU time."""

    rate: float
    cpu_rate: float


class Observers:
    """The dashboards and the scraper, each in a thread that is idle most of the time. A scrape comes in the middle of
    each `scrape_seconds`.
    """

    def __init__(self, gateway: Target, dashboards: int = DASHBOARDS, scrape_seconds: float = SCRAPE_SECONDS) -> None:
        self._gateway = gateway
        self._dashboards = dashboards
        self._scrape_seconds = scrape_seconds
        self._cookie = _log_in(gateway)
        self._stop = threading.Event()
        self._sockets: list[ClientConnection] = []
        self._threads: list[threading.Thread] = []
        self.snapshots = 0
        self.scrapes = 0

    def start(self) -> None:
        self._stop.clear()
        self._sockets = [self._connect() for _ in range(self._dashboards)]
        self._threads = [threading.Thread(target=self._follow, args=(socket,)) for socket in self._sockets]
        self._threads.append(threading.Thread(target=self._scrape))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for socket in self._sockets:
            socket.close()
        for thread in self._threads:
            thread.join()

    def _connect(self) -> ClientConnection:
        address = self._gateway.address.replace("http", "ws", 1)
        headers = {"Cookie": self._cookie, "Origin": self._gateway.address}
        return connect(f"{address}/ws/dashboard/", additional_headers=headers)

    def _follow(self, socket: ClientConnection) -> None:
        try:
            for _ in socket:
                self.snapshots += 1
        except ConnectionClosed:
            return

    def _scrape(self) -> None:
        headers = {"X-API-Key": self._gateway.metrics_key, "Accept": "text/plain"}
        wait = self._scrape_seconds / 2
        with requests.Session() as session:
            while not self._stop.wait(wait):
                session.get(f"{self._gateway.address}/metrics", headers=headers, timeout=30).raise_for_status()
                self.scrapes += 1
                wait = self._scrape_seconds


def _log_in(gateway: Target) -> str:
    """Log in through the admin's form; returns the session cookie."""
    with requests.Session() as session:
        page = f"{gateway.address}/admin/login/"
        session.get(page, timeout=30)
        token = session.cookies["csrftoken"]
        form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": token}
        # Set explicitly, since the cookies are marked Secure.
        headers = {"Origin": gateway.address, "Cookie": f"csrftoken={token}"}
        response = session.post(page, data=form, headers=headers, timeout=30, allow_redirects=False)
        if response.status_code != FOUND:
            raise SystemExit(f"the login failed with {response.status_code}")
        return f"sessionid={session.cookies['sessionid']}"


def cpu_seconds(pid: int) -> float:
    """The CPU time used by a process and its children so far."""
    ticks = 0
    for process in (pid, *children(pid)):
        # The name in parentheses may contain spaces.
        numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(numbers[11]) + int(numbers[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def run_round(gateway: Target, seconds: float, path: str = "/api/v1/s0/hit") -> Round:
    load = Load(f"{gateway.address}{path}", headers=(("X-API-Key", gateway.key),))
    before = cpu_seconds(gateway.pid)
    result = wrk.run(load, seconds)
    if result.fault(load):
        raise SystemExit(result.fault(load))
    return Round(result.rate, result.requests / (cpu_seconds(gateway.pid) - before))


def compare(gateway: Target, seconds: int, rounds: int) -> list[tuple[Round, Round]]:
    """Pairs of rounds, without and with observers, run in alternating order."""
    observers = Observers(gateway)
    run_round(gateway, 1)
    pairs = []
    for number in range(rounds):
        pair = {}
        for observed in (False, True) if number % 2 else (True, False):
            if observed:
                observers.start()
            pair[observed] = run_round(gateway, seconds)
            if observed:
                observers.stop()
        pairs.append((pair[False], pair[True]))
    print(f"{observers.snapshots} snapshots and {observers.scrapes} scrapes in {rounds * seconds} s")
    return pairs


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    with ExitStack() as stack:
        target = stack.enter_context(gateway(stack.enter_context(run_origin())))
        pairs = compare(target, seconds, rounds)
    print(f"{'requests':<16}{'unobserved':>12}{'observed':>12}{'ratio':>8}")
    for index, name in enumerate(("per second", "per CPU second")):
        unobserved, observed = ([float(pair[side][index]) for pair in pairs] for side in (0, 1))
        ratios = [after / before for before, after in zip(unobserved, observed, strict=True)]
        low, _, high = quantiles(ratios, n=4)
        spread = f"quartiles {low:.3f} and {high:.3f}; required: {THRESHOLD}"
        print(f"{name:<16}{median(unobserved):>12,.0f}{median(observed):>12,.0f}{median(ratios):>8.3f}  {spread}")


if __name__ == "__main__":
    main()
