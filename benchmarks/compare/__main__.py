"""Compare throughput with other proxies: `python -m benchmarks.compare [--only hit,miss] [--seconds 3]`."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import median
from subprocess import CalledProcessError
from typing import Final

from redis import Redis

from benchmarks import machine, results, servers, wrk
from benchmarks.compare.cases import GATEWAY, KEYS, ON_REDIS, TWO_ON_REDIS, Case, Targets, all_cases, select
from benchmarks.compare.peer_proxies import PEER_PROXIES, PeerProxy, versions
from benchmarks.compare.recording import fault, record
from benchmarks.processes import NotStarted
from benchmarks.servers import RunningGateway
from benchmarks.stats import median_ratio, table, verdict
from benchmarks.wrk import Load

MIN_REDIS_SHARE: Final = 0.95
"""Minimum share of the requests of an `in_rotation` case that must be lookups in Redis."""
Rates = dict[str, list[float]]
"""Requests per second by target, one for each round."""


class Rounds:
    """The rounds of all cases. `faults` has the reason for each target that was excluded; `redis` has the ports of the
    gateways' Redis servers.
    """

    def __init__(self, seconds: float, redis: Mapping[str, int]) -> None:
        self._redis = redis
        self.seconds = seconds
        self.rates: dict[str, Rates] = {}
        self.faults: dict[str, str] = {}

    def prepare(self, cases: Sequence[Case]) -> None:
        """Warm up every target, and exclude those that do not respond as expected."""
        for case in cases:
            self.rates[case.name] = defaultdict(list)
            for name, load in list(case.loads.items()):
                problem = fault(load)
                if case.in_rotation and not problem:
                    self._fill(replace(load, url=f"{load.url}other"))  # fills the memory tier with other entries
                    case.loads[name] = self._fill(load)
                    problem = self._memory_hits(name, case)
                if problem:
                    self._exclude(case, name, problem)

    def run(self, case: Case, *, reverse: bool) -> None:
        """One round of a case: each target once."""
        for name, load in reversed(list(case.loads.items())) if reverse else list(case.loads.items()):
            try:
                result = wrk.run(load, self.seconds)
                problem = result.fault(load)
            except (NotStarted, OSError, CalledProcessError) as error:
                problem = str(error)
            if problem:
                self._exclude(case, name, problem)
                continue
            self.rates[case.name][name].append(result.rate)
            case.loads[name] = load.after(result.requests)

    def _fill(self, load: Load) -> Load:
        """Request every key once, so that all entries are in Redis. Returns the load to continue with."""
        sent = 0
        while sent < KEYS:
            result = wrk.run(load, 2)
            sent += result.requests
            load = load.after(result.requests)
        return load

    def _memory_hits(self, name: str, case: Case) -> str:
        """Why the case would not measure hits in Redis, if too many are served from memory; otherwise empty."""
        if name not in self._redis:
            return ""
        with Redis(port=self._redis[name]) as redis:
            before = redis.info("stats")["keyspace_hits"]
            result = wrk.run(case.loads[name], 1)
            lookups = redis.info("stats")["keyspace_hits"] - before
        case.loads[name] = case.loads[name].after(result.requests)
        share = lookups / result.requests
        return "" if share > MIN_REDIS_SHARE else f"only {share:.0%} of the requests were lookups in Redis"

    def _exclude(self, case: Case, name: str, problem: str) -> None:
        self.faults[f"{case.title}, {name}"] = problem
        self.rates[case.name].pop(name, None)
        del case.loads[name]


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    machine.raise_open_file_limit()
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        targets = stack.enter_context(all_targets(missing))
        try:
            cases = select(all_cases(targets), [name for name in options.only.split(",") if name])
        except ValueError as error:
            sys.exit(str(error))
        rounds = Rounds(options.seconds, targets.redis)
        rounds.prepare(cases)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for case in cases:
                rounds.run(case, reverse=number % 2 == 1)
    report = "\n".join([section(case, rounds.rates[case.name]) for case in cases])
    report += notes(missing | rounds.faults, options)
    if options.dry:
        print(report)
    else:
        command = " ".join(["python -m benchmarks.compare", *arguments])
        results.publish(options.title, report, command=command, versions=versions())


@contextmanager
def all_targets(missing: dict[str, str]) -> Iterator[Targets]:
    """Run all targets. Those that cannot be started are added to `missing`, with the reason."""
    with ExitStack() as stack:
        origin = stack.enter_context(servers.backend())
        gateways: dict[str, RunningGateway] = {GATEWAY: stack.enter_context(servers.gateway(origin))}
        ports: dict[str, int] = {}
        for name, workers in {ON_REDIS: 1, TWO_ON_REDIS: 2}.items():
            try:
                ports[name] = stack.enter_context(servers.redis())
                gateways[name] = stack.enter_context(servers.gateway(origin, workers=workers, redis_port=ports[name]))
            except NotStarted as error:
                missing[name] = str(error)
        recordings = {name: record(gateway) for name, gateway in gateways.items()}
        baseline = stack.enter_context(servers.baseline(origin, recordings[GATEWAY]))
        granian = stack.enter_context(servers.baseline(origin, recordings[GATEWAY], "granian"))
        peers: dict[str, PeerProxy] = {}
        for name, run_peer in PEER_PROXIES.items():
            try:
                peers[name] = stack.enter_context(run_peer(origin))
            except NotStarted as error:
                missing[name] = str(error)
        yield Targets(gateways, baseline, granian, peers, ports)


def section(case: Case, rates: Rates) -> str:
    """A case's table: the rate of each target, and the ratio of the subject's rate to it."""
    subject_rates = rates.get(case.subject, [])
    rows = []
    for name, target_rates in rates.items():
        ratio = median_ratio(subject_rates, target_rates) if subject_rates else float("nan")
        threshold = case.thresholds.get(name)
        rows.append(
            [
                name,
                f"{median(target_rates):,.0f}",
                "" if name == case.subject else f"{ratio:.2f}",
                f"{threshold.bound:g}" if threshold else "",
                verdict(ratio, threshold),
            ]
        )
    missing = [
        [name, "missing", "", f"{threshold.bound:g}", ""]
        for name, threshold in case.thresholds.items()
        if name not in rates
    ]
    head = ["target", "requests/s", f"{case.subject} / target", "at least", ""]
    return f"### {case.title} (`{case.name}`)\n\n{table(head, rows + missing)}"


def notes(missing: dict[str, str], options: argparse.Namespace) -> str:
    text = f"\n{options.rounds} interleaved rounds of {options.seconds:g} s; ratios are medians of per-round ratios.\n"
    if missing:
        text += "\nNot measured: " + "; ".join(f"{name} ({reason})" for name, reason in missing.items()) + ".\n"
    return text


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--only", default="", help="comma-separated cases; default: all")
    parser.add_argument("--seconds", type=float, default=3, help="duration of each target's run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--title", default="Comparison", help="section of results.md to write")
    parser.add_argument("--dry", action="store_true", help="print the report without writing results.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
