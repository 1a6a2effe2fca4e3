"""Event delivery to many sockets, compared with Socket.IO and its Redis adapter; two workers each, the same clients.

    python benchmarks/sockets.py [--seconds 30] [--rate 10] [--sockets 1000] [--ramp] [--only gateway]

Publishes `--rate` events per second for `--seconds`, and checks that every socket receives every event once and in
order, and with which latency. With `--ramp`, increases the rate, alternating between the two servers, while no event
is missing and the p99 stays under LIMIT. Needs redis-server; Socket.IO needs node and `npm ci` in benchmarks/socketio.
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

from benchmarks.listeners import TOPIC, ListenerProcess, Protocol, gateway, socket_io
from benchmarks.processes import children, free_port, responds, server_process

WORKERS: Final = 2
PUBLISHERS: Final = 3
MANAGE: Final = (sys.executable, "manage.py")
LIMIT: Final = 0.25
"""Bound of the p99 of the seconds from publishing to receipt."""
RAMP: Final = (20, 40, 60, 80, 90, 100, 110, 120, 130, 140, 160, 180, 200)
"""Events per second."""
RAMP_SECONDS: Final = 5
TRIES: Final = 3
"""Attempts at each rate, so that a slow moment of the machine does not decide."""
RECOVERY_SECONDS: Final = 10.0
"""Until the events of a failed attempt have arrived and do not count for the next."""
SETTLE_SECONDS: Final = 1.5
ACCEPTED: Final = b"HTTP/1.1 202 "
HEADINGS: Final = "             events/s del./s/worker  us CPU  client  p50 ms  p99 ms  complete, in order"
"""CPU time per delivery: of the server's workers, and of the clients."""


@dataclass(frozen=True)
class Target:
    """`ports`: one for all workers, or one for each. CPU time is counted for `processes` and their descendants."""

    name: str
    ports: tuple[int, ...]
    processes: tuple[int, ...]
    protocol: Protocol
    publishers: tuple[dict[str, str], ...]
    """Header fields used in turn for publishing: a single API key would reach its rate limit."""


class Result(NamedTuple):
    """`complete`: sockets that received every event once and in order. `cpu` and `client_cpu` are seconds."""

    deliveries: int
    complete: int
    sockets: int
    seconds: float
    cpu: float
    client_cpu: float
    p50: float
    p99: float

    @property
    def passed(self) -> bool:
        return self.complete == self.sockets and self.p99 < LIMIT

    @property
    def rate(self) -> float:
        """Deliveries per second and worker."""
        return self.deliveries / self.seconds / WORKERS


def main() -> None:
    options = _options()
    with ExitStack() as stack:
        redis = stack.enter_context(_redis())
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        targets = [stack.enter_context(_gateway(redis, directory))]
        if options.only != "gateway":
            targets.append(stack.enter_context(_socket_io(redis)))
        print(HEADINGS, flush=True)
        clients = {target.name: stack.enter_context(_clients(target, options.sockets)) for target in targets}
        for target in targets:
            result = measure(target, clients[target.name], options.rate, options.seconds)
            report(target.name, options.rate, result)
        if options.ramp:
            ramp(targets, clients)


def ramp(targets: list[Target], clients: dict[str, list[ListenerProcess]]) -> None:
    """Measure increasing rates, alternating between targets. A target that fails a rate TRIES times is dropped."""
    best: dict[str, float] = {target.name: 0.0 for target in targets}
    remaining = list(targets)
    for rate in RAMP:
        for target in list(remaining):
            for _ in range(TRIES):
                result = measure(target, clients[target.name], rate, RAMP_SECONDS)
                report(target.name, rate, result)
                if result.passed:
                    best[target.name] = result.rate
                    break
                time.sleep(RECOVERY_SECONDS)
            else:
                remaining.remove(target)
    for name, highest in best.items():
        ratio = highest / best["gateway"]
        print(f"{name}: at most {highest:,.0f} deliveries per second and worker ({ratio:.2f} of the gateway's)")


def measure(target: Target, clients: list[ListenerProcess], rate: float, seconds: float) -> Result:
    for process in clients:
        process.report(0)
    before, started = _cpu_seconds(target), time.monotonic()
    count = _publish(target, rate, seconds)
    elapsed = time.monotonic() - started
    time.sleep(SETTLE_SECONDS)
    reports = [process.report(count) for process in clients]
    cpu = _cpu_seconds(target) - before
    latencies = array("d")
    for each in reports:
        latencies.frombytes(each.latencies)
    ordered = sorted(latencies) or [float("inf")]
    return Result(
        deliveries=len(latencies),
        complete=sum(each.complete for each in reports),
        sockets=sum(each.sockets for each in reports),
        seconds=elapsed,
        cpu=cpu,
        client_cpu=sum(each.cpu_seconds for each in reports),
        p50=ordered[len(ordered) // 2],
        p99=ordered[int(len(ordered) * 0.99)],
    )


def report(name: str, rate: float, result: Result) -> None:
    per_delivery = 1e6 / max(result.deliveries, 1)
    print(
        f"{name:<12}{rate:>9}{result.rate:>14,.0f}{result.cpu * per_delivery:>8.1f}"
        f"{result.client_cpu * per_delivery:>8.1f}{result.p50 * 1e3:>8.0f}{result.p99 * 1e3:>8.0f}"
        f"  {result.complete} of {result.sockets} sockets",
        flush=True,
    )


def _publish(target: Target, rate: float, seconds: float) -> int:
    """Publish events over one connection without waiting for responses. Returns how many were published."""
    fields = ["".join(f"{name}: {value}\r\n" for name, value in each.items()) for each in target.publishers]
    with socket.create_connection(("127.0.0.1", target.ports[0])) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count = int(rate * seconds)
        responses = Thread(target=_count_responses, args=(connection, count), daemon=True)
        responses.start()
        started = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
            event = {"topic": TOPIC, "type": "tick", "data": {"n": number, "at": time.time()}}
            body = json.dumps(event, separators=(",", ":"))
            head = f"Host: localhost\r\nContent-Length: {len(body)}\r\n{fields[number % len(fields)]}"
            connection.sendall(f"POST /events HTTP/1.1\r\n{head}\r\n{body}".encode())
        time.sleep(max(0.0, started + count / rate - time.monotonic()))
        responses.join(30)
        if responses.is_alive():
            raise SystemExit(f"{target.name} did not accept every event")
    return count


def _count_responses(connection: socket.socket, count: int) -> None:
    tail, seen = b"", 0
    while seen < count:
        data = tail + connection.recv(65_536)
        if len(data) == len(tail):
            return
        seen += data.count(ACCEPTED)
        tail = data[-len(ACCEPTED) + 1 :]


@contextmanager
def _clients(target: Target, sockets: int) -> Iterator[list[ListenerProcess]]:
    """Run two client processes with half of the sockets each."""
    ports = (*target.ports, *target.ports)[:WORKERS]
    clients = [ListenerProcess(port, sockets // WORKERS, target.protocol) for port in ports]
    try:
        for process in clients:
            process.wait()
        yield clients
    finally:
        for process in clients:
            process.close()


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
def _gateway(redis: str, directory: str) -> Iterator[Target]:
    port = free_port()
    environment = {
        "SECRET_KEY": "for this benchmark alone, and long enough to sign with",
        "DRAIN_SECONDS": "0",
        "DATABASE_URL": f"sqlite:///{directory}/gateway.sqlite3",
        "REDIS_URL": redis,
        "PORT": str(port),
        "WORKERS": str(WORKERS),
        "ACCESS_LOG": "off",
        "RATE_LIMIT": "999999999/m",
    }
    is_ready = responds(f"http://127.0.0.1:{port}/health/ready")
    with server_process([*MANAGE, "rungateway"], is_ready, environment=environment) as process:
        keys = [_create_key(environment, f"bench{number}") for number in range(PUBLISHERS)]
        time.sleep(1.5)  # until every worker accepts the keys
        publishers = tuple({"X-API-Key": key} for key in keys)
        yield Target("gateway", (port,), (process,), gateway(keys[0]), publishers)


def _create_key(environment: dict[str, str], name: str) -> str:
    command = [*MANAGE, "apikey", "create", name, "--scope", "*", "--scope", "events:publish"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    return done.stdout.split()[-1]


@contextmanager
def _socket_io(redis: str) -> Iterator[Target]:
    node = shutil.which("node") or sys.exit("this needs node, or --only gateway")
    script = str(ROOT / "benchmarks/socketio/server.js")
    ports = tuple(free_port() for _ in range(WORKERS))
    with ExitStack() as stack:
        commands = [([node, script, str(port), redis], f"http://127.0.0.1:{port}/health") for port in ports]
        processes = tuple(stack.enter_context(server_process(command, responds(url))) for command, url in commands)
        yield Target("Socket.IO", ports, processes, socket_io(), ({},))


def _cpu_seconds(target: Target) -> float:
    """The CPU time used so far by all processes of a target."""
    return sum(_process_cpu_seconds(process) for process in target.processes)


def _process_cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_process_cpu_seconds(each) for each in children(process))


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
