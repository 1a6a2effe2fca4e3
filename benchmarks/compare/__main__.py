"""`python -m benchmarks.compare [--only hit,miss] [--seconds 3] [--rounds 5]`: rounds in turn, and their ratios."""

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
from benchmarks.compare.cases import GATEWAY, KEYS, ON_REDIS, TWO_ON_REDIS, Case, Field, all_cases, chosen
from benchmarks.compare.contestants import STARTING, Peer, versions
from benchmarks.compare.recording import fault, recorded
from benchmarks.figures import ratio, table, verdict
from benchmarks.processes import NotStarted
from benchmarks.servers import Running
from benchmarks.wrk import Load

REACHED: Final = 0.95
"""The least share of hits in Redis that must have been looked up there."""
Speeds = dict[str, list[float]]
"""Requests a second by contestant, one for each round."""


class Rounds:
    """All rounds of one run. `faults` names what could not be measured, and why; `redis` are gateways' Redis ports."""

    def __init__(self, seconds: float, redis: Mapping[str, int]) -> None:
        self._redis = redis
        self.seconds = seconds
        self.speeds: dict[str, Speeds] = {}
        self.faults: dict[str, str] = {}

    def prepare(self, cases: Sequence[Case]) -> None:
        """Ask everyone once, so that caches are filled; leave out those who answer something else."""
        for case in cases:
            self.speeds[case.name] = defaultdict(list)
            for name, load in list(case.loads.items()):
                problem = fault(load)
                if case.is_circle and not problem:
                    self._filled(replace(load, url=f"{load.url}other"))  # what a process keeps near, it keeps of these
                    case.loads[name] = self._filled(load)
                    problem = self._from_memory(name, case)
                if problem:
                    self._leave_out(case, name, problem)

    def play(self, case: Case, *, backwards: bool) -> None:
        """One round of a case: each contestant once, every other round in the opposite order."""
        for name, load in reversed(list(case.loads.items())) if backwards else list(case.loads.items()):
            try:
                measured = wrk.run(load, self.seconds)
                problem = measured.fault(load)
            except (NotStarted, OSError, CalledProcessError) as error:
                problem = str(error)
            if problem:
                self._leave_out(case, name, problem)
                continue
            self.speeds[case.name][name].append(measured.rate)
            case.loads[name] = load.after(measured.requests)

    def _filled(self, load: Load) -> Load:
        """The load after its circle was gone round once: all of it is in Redis."""
        asked = 0
        while asked < KEYS:
            measured = wrk.run(load, 2)
            asked += measured.requests
            load = load.after(measured.requests)
        return load

    def _from_memory(self, name: str, case: Case) -> str:
        """Why a hit in Redis would not be one: too many answers come out of the process's own memory."""
        if name not in self._redis:
            return ""
        with Redis(port=self._redis[name]) as redis:
            before = redis.info("stats")["keyspace_hits"]
            measured = wrk.run(case.loads[name], 1)
            found = redis.info("stats")["keyspace_hits"] - before
        case.loads[name] = case.loads[name].after(measured.requests)
        share = found / measured.requests
        return "" if share > REACHED else f"only {share:.0%} of it was asked of Redis"

    def _leave_out(self, case: Case, name: str, problem: str) -> None:
        self.faults[f"{case.title}, {name}"] = problem
        self.speeds[case.name].pop(name, None)
        del case.loads[name]


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    machine.allow_many_connections()
    missing: dict[str, str] = {}
    with ExitStack() as stack:
        field = stack.enter_context(everybody(missing))
        try:
            cases = chosen(all_cases(field), [name for name in options.only.split(",") if name])
        except ValueError as error:
            sys.exit(str(error))
        rounds = Rounds(options.seconds, field.redis)
        rounds.prepare(cases)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for case in cases:
                rounds.play(case, backwards=number % 2 == 1)
    report = "\n".join([section(case, rounds.speeds[case.name]) for case in cases])
    report += notes(missing | rounds.faults, options)
    if options.dry:
        print(report)
    else:
        command = " ".join(["python -m benchmarks.compare", *arguments])
        results.publish(options.title, report, command=command, versions=versions())


@contextmanager
def everybody(missing: dict[str, str]) -> Iterator[Field]:
    """All that there is to measure. What could not be started is put into `missing` with the reason."""
    with ExitStack() as stack:
        origin = stack.enter_context(servers.backend())
        gateways: dict[str, Running] = {GATEWAY: stack.enter_context(servers.gateway(origin))}
        ports: dict[str, int] = {}
        for name, workers in {ON_REDIS: 1, TWO_ON_REDIS: 2}.items():
            try:
                ports[name] = stack.enter_context(servers.redis())
                gateways[name] = stack.enter_context(servers.gateway(origin, workers=workers, redis_port=ports[name]))
            except NotStarted as error:
                missing[name] = str(error)
        answers = {name: recorded(gateway) for name, gateway in gateways.items()}
        floor = stack.enter_context(servers.floor(origin, answers[GATEWAY]))
        granian = stack.enter_context(servers.floor(origin, answers[GATEWAY], "granian"))
        peers: dict[str, Peer] = {}
        for name, starting in STARTING.items():
            try:
                peers[name] = stack.enter_context(starting(origin))
            except NotStarted as error:
                missing[name] = str(error)
        yield Field(gateways, floor, granian, peers, ports)


def section(case: Case, speeds: Speeds) -> str:
    """A case's table: how fast each is, and what share of that the subject reaches."""
    mine = speeds.get(case.subject, [])
    rows = []
    for name, theirs in speeds.items():
        share, aim = ratio(mine, theirs) if mine else float("nan"), case.aims.get(name)
        told = "" if name == case.subject else f"{share:.2f}"
        rows.append([name, f"{median(theirs):,.0f}", told, f"{aim.bound:g}" if aim else "", verdict(share, aim)])
    missing = [[name, "missing", "", f"{aim.bound:g}", ""] for name, aim in case.aims.items() if name not in speeds]
    head = ["", "requests/s", f"{case.subject} / this", "at least", ""]
    return f"### {case.title} (`{case.name}`)\n\n{table(head, rows + missing)}"


def notes(missing: dict[str, str], options: argparse.Namespace) -> str:
    told = (
        f"\n{options.rounds} rounds of {options.seconds:g} s that took turns; ratios are medians of the rounds' own.\n"
    )
    if missing:
        told += "\nNot measured: " + "; ".join(f"{name} ({why})" for name, why in missing.items()) + ".\n"
    return told


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--only", default="", help="cases, with commas between them; all by default")
    parser.add_argument("--seconds", type=float, default=3, help="of each contestant's turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--title", default="Comparison", help="the section of results.md")
    parser.add_argument("--dry", action="store_true", help="print, and leave results.md as it is")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
