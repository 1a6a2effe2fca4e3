"""What watching costs the data plane: `make watched ARGS="SECONDS ROUNDS"`; needs `wrk`.

One worker answers hits as fast as it can, in rounds that take turns: nobody watches, or three dashboards hang on the
live feed and Prometheus scrapes `/metrics` each second. Each pair of neighbours gives a ratio; their median is to be at
least 0.98. The second line is the same for each second of the gateway's own CPU, which a busy machine disturbs less.
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
from typing import Final, NamedTuple

import requests
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from benchmarks import servers
from benchmarks.origin import running
from benchmarks.processes import ROOT, children
from benchmarks.wrk import Load, run

ROUNDS: Final = 10
DASHBOARDS: Final = 3
SCRAPE_SECONDS: Final = 1.0
AIM: Final = 0.98
PASSWORD: Final = "for this benchmark alone, and long enough for Django's own checks"  # noqa: S105
PREPARE: Final = f"""
from django.contrib.auth import get_user_model
from django.core.management import call_command
get_user_model().objects.create_superuser("ada", password={PASSWORD!r})
call_command("apikey", "create", "scraper", "--scope", "metrics:read")
"""
SERVICES: Final = 5
"""As many as the demonstration has: the feed tells of each."""
CONFIGURATION: Final = "\n".join(
    [
        "version: 1",
        "services:",
        *(f'  s{number}: {{targets: [{{url: "$origin"}}], cache: {{ttl: 3600}}}}' for number in range(SERVICES)),
    ]
)


class Watched(NamedTuple):
    """A gateway, its key for services, and one for its numbers."""

    address: str
    pid: int
    key: str
    reader: str


@contextmanager
def gateway(origin: str) -> Iterator[Watched]:
    with servers.folder() as place:
        given = {"SECRET_KEY": PASSWORD, "DATABASE_URL": f"sqlite:///{place}/gateway.sqlite3"}
        with servers.gateway(origin, configuration=CONFIGURATION, environment=given) as made:
            done = subprocess.run(
                [sys.executable, "manage.py", "shell", "--no-imports", "-c", PREPARE],
                cwd=ROOT,
                env={"PATH": os.environ.get("PATH", os.defpath), **given},
                check=True,
                capture_output=True,
                text=True,
            )
            yield Watched(made.address, made.pid, made.key, done.stdout.split()[-1])


class Round(NamedTuple):
    """Requests answered for each second that passed, and for each that the gateway computed."""

    speed: float
    thrift: float


class Watchers:
    """Those who watch, each in a thread of its own that waits nearly all the time."""

    def __init__(self, gateway: Watched) -> None:
        self._gateway = gateway
        self._cookie = _logged_in(gateway)
        self._stop = threading.Event()
        self._sockets: list[ClientConnection] = []
        self._threads: list[threading.Thread] = []
        self.snapshots = 0
        self.scrapes = 0

    def begin(self) -> None:
        self._stop.clear()
        self._sockets = [self._opened() for _ in range(DASHBOARDS)]
        self._threads = [threading.Thread(target=self._follow, args=(socket,)) for socket in self._sockets]
        self._threads.append(threading.Thread(target=self._scrape))
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for socket in self._sockets:
            socket.close()
        for thread in self._threads:
            thread.join()

    def _opened(self) -> ClientConnection:
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
        headers = {"X-API-Key": self._gateway.reader, "Accept": "text/plain"}
        with requests.Session() as session:
            while not self._stop.wait(SCRAPE_SECONDS):
                session.get(f"{self._gateway.address}/metrics", headers=headers, timeout=30).raise_for_status()
                self.scrapes += 1


def _logged_in(gateway: Watched) -> str:
    """A staff session's cookie, by the page's own form."""
    with requests.Session() as session:
        page = f"{gateway.address}/admin/login/"
        session.get(page, timeout=30)
        token = session.cookies["csrftoken"]
        form = {"username": "ada", "password": PASSWORD, "csrfmiddlewaretoken": token}
        # By hand, since the cookies are for https alone.
        headers = {"Origin": gateway.address, "Cookie": f"csrftoken={token}"}
        answer = session.post(page, data=form, headers=headers, timeout=30, allow_redirects=False)
        if answer.status_code != FOUND:
            raise SystemExit(f"the log-in answers {answer.status_code}")
        return f"sessionid={session.cookies['sessionid']}"


def cpu_seconds(pid: int) -> float:
    """What a gateway's processes have computed so far."""
    ticks = 0
    for process in (pid, *children(pid)):
        numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()  # its name may hold anything
        ticks += int(numbers[11]) + int(numbers[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def timed(gateway: Watched, seconds: int) -> Round:
    load = Load(f"{gateway.address}/api/v1/s0/hit", headers=(("X-API-Key", gateway.key),))
    before = cpu_seconds(gateway.pid)
    measured = run(load, seconds)
    if measured.fault(load):
        raise SystemExit(measured.fault(load))
    return Round(measured.rate, measured.requests / (cpu_seconds(gateway.pid) - before))


def compare(gateway: Watched, seconds: int, rounds: int) -> list[tuple[Round, Round]]:
    """Neighbouring rounds, without watchers and with; which comes first changes each time."""
    watchers = Watchers(gateway)
    timed(gateway, 1)
    pairs = []
    for number in range(rounds):
        found = {}
        for watched in (False, True) if number % 2 else (True, False):
            if watched:
                watchers.begin()
            found[watched] = timed(gateway, seconds)
            if watched:
                watchers.end()
        pairs.append((found[False], found[True]))
    print(f"{watchers.snapshots} snapshots and {watchers.scrapes} scrapes in {rounds * seconds} s")
    return pairs


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    with ExitStack() as stack:
        made = stack.enter_context(gateway(stack.enter_context(running())))
        pairs = compare(made, seconds, rounds)
    print(f"{'requests':<16}{'unwatched':>12}{'watched':>12}{'ratio':>8}")
    for index, name in enumerate(("a second", "a CPU second")):
        alone, watched = ([float(pair[side][index]) for pair in pairs] for side in (0, 1))
        ratios = [after / before for before, after in zip(alone, watched, strict=True)]
        low, _, high = quantiles(ratios, n=4)
        spread = f"middle half {low:.3f} to {high:.3f}; aim {AIM}"
        print(f"{name:<16}{median(alone):>12,.0f}{median(watched):>12,.0f}{median(ratios):>8.3f}  {spread}")


if __name__ == "__main__":
    main()
