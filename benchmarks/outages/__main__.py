"""Take Redis and PostgreSQL away, slow them down and fill them: `python -m benchmarks.outages [--seconds 10]`.

One gateway of two workers, with both stores behind a proxy that can delay what it passes on. Clients and staff send
requests of eight kinds before, during and after each fault. Shown are the statuses and times of those sent during the
fault, and how long after its end all were well again; and how many of the requests to services were counted.

Needs redis-server and PostgreSQL.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

import requests

from benchmarks import results, servers
from benchmarks.outages.probes import Probe, Probes, milliseconds, statuses
from benchmarks.outages.stores import Store, stores
from benchmarks.processes import ROOT, NotStarted, free_port, responds, server_process
from benchmarks.servers import CONFIGURATION, create_key, temporary_directory
from benchmarks.stats import table

SETTLE_SECONDS: Final = 3.0
"""Of requests before each fault, and the shortest time after it."""
RECOVERY_SECONDS: Final = 30.0
"""After a fault, until every kind of request has to be well."""
COUNTED_SECONDS: Final = 12.0
"""Until the last counts are in the database."""
COUNTED: Final = ("hit", "miss", "write", "bad key")
"""The kinds that are requests to a service."""
RUN: Final = (sys.executable, "manage.py", "rungateway")


class Fault(NamedTuple):
    name: str
    begin: Callable[[Store], None]
    end: Callable[[Store], None]


FAULTS: Final = (
    Fault("away", lambda store: store.stop(), lambda store: store.start()),
    Fault("slow", lambda store: store.slow_down(), lambda store: store.speed_up()),
    Fault("full", lambda store: store.fill(), lambda store: store.drain()),
)


class Gateway(NamedTuple):
    address: str
    key: str


def prepared(directory: Path, origin: str, urls: Mapping[str, str]) -> dict[str, str]:
    """The environment of a gateway with a configuration in `directory`."""
    file = directory / "gateway.yaml"
    file.write_text(Template(CONFIGURATION).substitute(origin=origin))
    return {
        "SECRET_KEY": "for benchmarks alone, and long enough for Django's own checks",
        "DRAIN_SECONDS": "0",
        "GATEWAY_CONFIG": str(file),
        "PORT": str(free_port()),
        "WORKERS": "2",
        "ACCESS_LOG": "off",
        "RATE_LIMIT": servers.UNLIMITED,
        **urls,
    }


def address(environment: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{environment['PORT']}"


@contextmanager
def gateway(origin: str, urls: Mapping[str, str]) -> Iterator[Gateway]:
    with temporary_directory() as directory:
        variables = prepared(directory, origin, urls)
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, env=variables, check=True)
        with server_process(RUN, responds(f"{address(variables)}/health/ready"), environment=variables):
            yield Gateway(address(variables), create_key(variables, ["metrics:read", "metrics:write"]))


def measure(fault: Fault, store: Store, running: Gateway, seconds: float) -> list[tuple[str, ...]]:
    """The rows of one fault."""
    counted = requests_counted(running)
    with Probes(running.address, running.key) as probes:
        time.sleep(SETTLE_SECONDS)
        began = time.monotonic()
        fault.begin(store)
        time.sleep(seconds)
        fault.end(store)
        ended = time.monotonic()
        deadline = ended + RECOVERY_SECONDS
        time.sleep(SETTLE_SECONDS)
        while time.monotonic() < deadline and not all(is_well(probe) for probe in probes.all):
            time.sleep(0.5)
    time.sleep(COUNTED_SECONDS)
    sent = sum(len(probe.samples) for probe in probes.all if probe.name in COUNTED)
    share = f"{requests_counted(running) - counted} of {sent}"
    rows = [row(fault, store, probe, began, ended) for probe in probes.all]
    return [*rows, (f"{store.name} {fault.name}", "counted", share, "", "")]


def is_well(probe: Probe) -> bool:
    return bool(probe.samples) and probe.samples[-1].status == probe.expected


def row(fault: Fault, store: Store, probe: Probe, began: float, ended: float) -> tuple[str, ...]:
    during = probe.between(began, ended)
    recovered = probe.recovered_at(ended)
    after = "never" if recovered is None else f"{max(0.0, recovered - ended):.1f}"
    return f"{store.name} {fault.name}", probe.name, statuses(during), milliseconds(during), after


def requests_counted(running: Gateway) -> int:
    """Requests to the service `bench`, of all workers."""
    headers = {"X-API-Key": running.key}
    response = requests.get(f"{running.address}/metrics", headers=headers, timeout=60)
    return int(response.json()["services"]["bench"]["requests"])


def measure_start(store: Store, origin: str, urls: Mapping[str, str], seconds: float) -> tuple[str, ...]:
    """The row of a gateway that is started while a store is away, which is there after `seconds`."""
    store.stop()
    returning = threading.Timer(seconds, store.start)
    with temporary_directory() as directory:
        variables = prepared(directory, origin, urls)
        returning.start()
        began = time.monotonic()
        with server_process(RUN, responds(f"{address(variables)}/health/ready"), environment=variables):
            ready = time.monotonic() - began
            returning.join()
    when = f"{ready:.1f} s after its start"
    return f"{store.name} away at start, back after {seconds:g} s", "ready", when, "", ""


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outages", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each fault lasts")
    parser.add_argument("--dry", action="store_true", help="print the report without writing results.md")
    options = parser.parse_args(arguments)
    rows: list[tuple[str, ...]] = []
    with stores() as both, servers.backend() as origin:
        urls = dict(zip(("REDIS_URL", "DATABASE_URL"), [store.url for store in both], strict=True))
        for store in both:
            store.start()
        with gateway(origin, urls) as running:
            for store in both:
                for fault in FAULTS:
                    rows += measure(fault, store, running, options.seconds)
        rows += [measure_start(store, origin, urls, SETTLE_SECONDS) for store in both]
    report = table(["fault", "request", "status", "ms, median / maximum", "s until all is well"], rows)
    if options.dry:
        print(report)
    else:
        results.publish("Outages", report, command=" ".join(["python -m benchmarks.outages", *arguments]))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except NotStarted as error:
        sys.exit(str(error))
