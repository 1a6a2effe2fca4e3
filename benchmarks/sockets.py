"""Events to many sockets, beside Socket.IO with its Redis adapter: two workers of each on one Redis, the same clients.

    python benchmarks/sockets.py [--seconds 30] [--rate 10] [--sockets 1000] [--ramp] [--only gateway]

First `--rate` events a second for `--seconds`: whether every socket gets every event once and in order, and how long
after it was published. With `--ramp` then ever more, for as long as nothing is missing and p99 stays under LIMIT.
The two take turns. Needs redis-server, and for Socket.IO node with `npm ci` in benchmarks/socketio.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.listeners import TOPIC, Dialect, Listeners, gateway, socket_io
from benchmarks.processes import answers, children, free_port, serving

WORKERS: Final = 2
PUBLISHERS: Final = 3
MANAGE: Final = (sys.executable, "manage.py")
LIMIT: Final = 0.25
"""Seconds from publish to receipt, for 99 of 100 deliveries."""
RAMP: Final = (20, 40, 60, 80, 90, 100, 110, 120, 130, 140, 160, 180, 200)
"""Events a second."""
RAMP_SECONDS: Final = 5
TRIES: Final = 3
"""A busy moment of the machine is nobody's limit."""
RECOVERY: Final = 10.0
"""Seconds for what is still on its way to arrive: it is not the next round's."""
SETTLING: Final = 1.5
TAKEN: Final = b"HTTP/1.1 202 "
HEADINGS: Final = "             events/s del./s/worker  us CPU  client  p50 ms  p99 ms  complete, in order"
"""CPU for each delivery: the server's workers', and the clients'."""


@dataclass(frozen=True)
class Contestant:
    """`ports`: one for all workers, or one for each. `processes`: what its CPU is counted of, with their children."""

    name: str
    ports: tuple[int, ...]
    processes: tuple[int, ...]
    dialect: Dialect
    publishers: tuple[dict[str, str], ...]
    """Fields of those who publish by turns: one alone would reach its limit."""


class Outcome(NamedTuple):
    deliveries: int
    wanted: int
    complete: int
    sockets: int
    seconds: float
    cpu: float
    clients: float
    p50: float
    p99: float

    @property
    def holds(self) -> bool:
        return self.complete == self.sockets and self.p99 < LIMIT

    @property
    def rate(self) -> float:
        """Deliveries a second, of one worker."""
        return self.deliveries / self.seconds / WORKERS


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        redis = stack.enter_context(_redis())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        contestants = [stack.enter_context(_gateway(redis, folder))]
        if options.only != "gateway":
            contestants.append(stack.enter_context(_socket_io(redis)))
        print(HEADINGS, flush=True)
        crowds = {each.name: stack.enter_context(_crowd(each, options.sockets)) for each in contestants}
        for each in contestants:
            report(each.name, options.rate, measure(each, crowds[each.name], options.rate, options.seconds))
        if options.ramp:
            compare(contestants, crowds)


def compare(contestants: list[Contestant], crowds: dict[str, list[Listeners]]) -> None:
    """Ever more events a second, in turns. One that holds a rate in none of TRIES is out."""
    best: dict[str, float] = {each.name: 0.0 for each in contestants}
    climbing = list(contestants)
    for rate in RAMP:
        for each in list(climbing):
            for _ in range(TRIES):
                outcome = measure(each, crowds[each.name], rate, RAMP_SECONDS)
                report(each.name, rate, outcome)
                if outcome.holds:
                    best[each.name] = outcome.rate
                    break
                time.sleep(RECOVERY)
            else:
                climbing.remove(each)
    for name, most in best.items():
        print(f"{name}: at most {most:,.0f} deliveries a second for each worker ({most / best['gateway']:.2f} of ours)")


def measure(contestant: Contestant, crowd: list[Listeners], rate: float, seconds: float) -> Outcome:
    for listeners in crowd:
        listeners.ask(0)
    before, begun = _cpu(contestant), time.monotonic()
    count = _publish(contestant, rate, seconds)
    took = time.monotonic() - begun
    time.sleep(SETTLING)
    reports = [listeners.ask(count) for listeners in crowd]
    spent = _cpu(contestant) - before
    waits = array("d")
    for report_ in reports:
        waits.frombytes(report_.waits)
    ordered = sorted(waits) or [float("inf")]
    sockets = sum(each.sockets for each in reports)
    return Outcome(
        len(waits),
        count * sockets,
        sum(each.complete for each in reports),
        sockets,
        took,
        spent,
        sum(each.cpu for each in reports),
        ordered[len(ordered) // 2],
        ordered[int(len(ordered) * 0.99)],
    )


def report(name: str, rate: float, got: Outcome) -> None:
    each = max(got.deliveries, 1)
    print(
        f"{name:<12}{rate:>9}{got.rate:>14,.0f}{got.cpu / each * 1e6:>8.1f}{got.clients / each * 1e6:>8.1f}"
        f"{got.p50 * 1e3:>8.0f}{got.p99 * 1e3:>8.0f}  {got.complete} of {got.sockets} sockets",
        flush=True,
    )


def _publish(contestant: Contestant, rate: float, seconds: float) -> int:
    """One publisher, over one connection, which does not wait for answers. Returns how many it published."""
    fields = ["".join(f"{name}: {value}\r\n" for name, value in each.items()) for each in contestant.publishers]
    with socket.create_connection(("127.0.0.1", contestant.ports[0])) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count = int(rate * seconds)
        answers = Thread(target=_count_answers, args=(connection, count), daemon=True)
        answers.start()
        begun = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begun + number / rate - time.monotonic()))
            event = {"topic": TOPIC, "type": "tick", "data": {"n": number, "at": time.time()}}
            body = json.dumps(event, separators=(",", ":"))
            own = f"Host: localhost\r\nContent-Length: {len(body)}\r\n{fields[number % len(fields)]}"
            connection.sendall(f"POST /events HTTP/1.1\r\n{own}\r\n{body}".encode())
        time.sleep(max(0.0, begun + count / rate - time.monotonic()))
        answers.join(30)
        if answers.is_alive():
            raise SystemExit(f"{contestant.name} did not take every event")
    return count


def _count_answers(connection: socket.socket, count: int) -> None:
    tail, seen = b"", 0
    while seen < count:
        data = tail + connection.recv(65_536)
        if len(data) == len(tail):
            return
        seen += data.count(TAKEN)
        tail = data[-len(TAKEN) + 1 :]


@contextmanager
def _crowd(contestant: Contestant, sockets: int) -> Iterator[list[Listeners]]:
    """Two processes of clients, with half of the sockets each."""
    ports = (*contestant.ports, *contestant.ports)[:WORKERS]
    crowd = [Listeners(port, sockets // WORKERS, contestant.dialect) for port in ports]
    try:
        for listeners in crowd:
            listeners.wait()
        yield crowd
    finally:
        for listeners in crowd:
            listeners.close()


@contextmanager
def _redis() -> Iterator[str]:
    binary = shutil.which("redis-server") or sys.exit("this needs redis-server")
    port = free_port()
    process = subprocess.Popen([binary, "--port", str(port), "--save", "", "--loglevel", "warning"])
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _gateway(redis: str, folder: str) -> Iterator[Contestant]:
    port = free_port()
    environment = {
        "SECRET_KEY": "for this benchmark alone",
        "DATABASE_URL": f"sqlite:///{folder}/gateway.sqlite3",
        "REDIS_URL": redis,
        "PORT": str(port),
        "WORKERS": str(WORKERS),
        "ACCESS_LOG": "off",
        "RATE_LIMIT": "999999999/m",
    }
    is_ready = answers(f"http://127.0.0.1:{port}/health/ready")
    with serving([*MANAGE, "rungateway"], is_ready, environment=environment) as process:
        made = [_key(environment, f"bench{number}") for number in range(PUBLISHERS)]
        time.sleep(1.5)  # until every worker knows the key
        publishers = tuple({"X-API-Key": key} for key in made)
        yield Contestant("gateway", (port,), (process,), gateway(made[0]), publishers)


def _key(environment: dict[str, str], name: str) -> str:
    command = [*MANAGE, "apikey", "create", name, "--scope", "*", "--scope", "events:publish"]
    made = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    return made.stdout.split()[-1]


@contextmanager
def _socket_io(redis: str) -> Iterator[Contestant]:
    node = shutil.which("node") or sys.exit("this needs node, or --only gateway")
    script = str(ROOT / "benchmarks/socketio/server.js")
    ports = tuple(free_port() for _ in range(WORKERS))
    with ExitStack() as stack:
        commands = [([node, script, str(port), redis], f"http://127.0.0.1:{port}/health") for port in ports]
        processes = tuple(stack.enter_context(serving(command, answers(url))) for command, url in commands)
        yield Contestant("Socket.IO", ports, processes, socket_io(), ({},))


def _cpu(contestant: Contestant) -> float:
    """Seconds of CPU, of all its processes."""
    return sum(_spent(process) for process in contestant.processes)


def _spent(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_spent(each) for each in children(process))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--sockets", type=int, default=1_000)
    parser.add_argument("--ramp", action="store_true")
    parser.add_argument("--only", choices=["gateway"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
