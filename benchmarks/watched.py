"""What watching and recording cost the responses: `make watched ARGS="--rounds 4 --seconds 5"`; needs `wrk`.

Two gateways of one worker on a Redis each take turns. Each is measured plain: nobody watches, and the service's request
log is off; and watched: five dashboards follow the live feed over WebSockets, Prometheus scrapes once in five seconds,
and the service has the request log's defaults. Hits are answered from the worker's memory; misses are calls of the
origin. Ratios are of the same process, watched to plain, since equal processes differ by several percent.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median, quantiles
from typing import Final, NamedTuple

from benchmarks import dashboard, servers
from benchmarks.dashboard import Observers, Round, Target
from benchmarks.stats import table

ROUNDS: Final = 4
SECONDS: Final = 5.0
DASHBOARDS: Final = 5
SCRAPE_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 0.5
"""Until the dashboards have got their first snapshots, which are not measured."""
REQUIRED: Final = 0.98
SPREAD: Final = 0.04
"""If the middle half of the ratios is wider, the machine was too busy for a verdict."""
CASES: Final = {"hit": "small", "miss": "miss/small"}
PLAIN: Final = "plain"
WATCHED: Final = "watched"
PASS, FAIL, UNCLEAR = 0, 1, 2
"""Exit codes."""
_SERVICE: Final = """
    targets: [{url: "$origin"}]
    cache: {ttl: 3600}
    max_concurrency: 1024
    routes:
      - {path: "/miss/*", cache: off}
"""
CONFIGURATION: Final = f"""
version: 1
services:
  {PLAIN}:{_SERVICE}    request_log: off
  {WATCHED}:{_SERVICE}
"""


class Line(NamedTuple):
    """The ratios, watched to plain, of one case: of requests per second, or per second of processor time."""

    case: str
    unit: str
    ratios: Sequence[float]

    @property
    def middle_half(self) -> tuple[float, float]:
        low, _, high = quantiles(self.ratios, n=4)
        return low, high

    @property
    def is_met(self) -> bool:
        return median(self.ratios) >= REQUIRED

    @property
    def is_clear(self) -> bool:
        low, high = self.middle_half
        return high - low <= SPREAD


def lines(case: str, pairs: Sequence[tuple[Round, Round]]) -> list[Line]:
    """`pairs` are rounds of the same gateway, plain and watched."""
    return [
        Line(case, "requests/s", [watched.rate / plain.rate for plain, watched in pairs]),
        Line(case, "requests/s of processor", [watched.cpu_rate / plain.cpu_rate for plain, watched in pairs]),
    ]


def report(found: Sequence[Line]) -> str:
    head = ("", "requests", "watched / plain", "middle half", "at least", "")
    rows = []
    for line in found:
        low, high = line.middle_half
        mark = ("pass" if line.is_met else "**fail**") if line.is_clear else "unclear"
        rows.append(
            (line.case, line.unit, f"{median(line.ratios):.3f}", f"{low:.3f} to {high:.3f}", f"{REQUIRED}", mark)
        )
    return table(head, rows)


def verdict(found: Sequence[Line]) -> tuple[int, str]:
    """The exit code, and a sentence."""
    missed = [f"{line.case} ({line.unit})" for line in found if line.is_clear and not line.is_met]
    unclear = [f"{line.case} ({line.unit})" for line in found if not line.is_clear]
    if missed:
        return FAIL, f"FAIL: watching and recording cost more than 2 %: {', '.join(missed)}"
    if unclear:
        return UNCLEAR, f"UNCLEAR: the ratios vary too much, run it on a quiet machine: {', '.join(unclear)}"
    return PASS, "PASS: watching and recording together cost at most 2 %"


class Pair:
    """Two gateways that take turns, and who watches them."""

    def __init__(self, targets: Sequence[Target], seconds: float) -> None:
        self._gateways = [(target, Observers(target, DASHBOARDS, SCRAPE_SECONDS)) for target in targets]
        self._seconds = seconds
        self._turn = 0

    @property
    def observed(self) -> str:
        snapshots = sum(observers.snapshots for _, observers in self._gateways)
        scrapes = sum(observers.scrapes for _, observers in self._gateways)
        return f"{snapshots} snapshots and {scrapes} scrapes"

    def warm_up(self) -> None:
        for target, _ in self._gateways:
            for name in (PLAIN, WATCHED):
                for path in CASES.values():
                    dashboard.run_round(target, 1, f"/api/v1/{name}/{path}")

    def run(self, path: str) -> list[tuple[Round, Round]]:
        """A round of each gateway, plain and watched, in an order that alternates."""
        self._turn += 1
        order = (PLAIN, WATCHED) if self._turn % 2 else (WATCHED, PLAIN)
        found = [{side: self._measure(*gateway, side, path) for side in order} for gateway in self._gateways]
        return [(rounds[PLAIN], rounds[WATCHED]) for rounds in found]

    def _measure(self, target: Target, observers: Observers, side: str, path: str) -> Round:
        if side == PLAIN:
            return dashboard.run_round(target, self._seconds, f"/api/v1/{side}/{path}")
        observers.start()
        try:
            time.sleep(SETTLE_SECONDS)
            return dashboard.run_round(target, self._seconds, f"/api/v1/{side}/{path}")
        finally:
            observers.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what watching and recording cost the responses.")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each case; each has a round of both gateways")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of one measurement")
    options = parser.parse_args()
    pairs: dict[str, list[tuple[Round, Round]]] = {case: [] for case in CASES}
    with ExitStack() as stack:
        origin = stack.enter_context(servers.backend())
        targets = [
            stack.enter_context(dashboard.gateway(origin, CONFIGURATION, stack.enter_context(servers.redis())))
            for _ in range(2)
        ]
        pair = Pair(targets, options.seconds)
        pair.warm_up()
        for _ in range(max(1, options.rounds)):
            for case, path in CASES.items():
                pairs[case] += pair.run(path)
    found = [line for case, rounds in pairs.items() for line in lines(case, rounds)]
    code, sentence = verdict(found)
    print(
        f"{DASHBOARDS} dashboards, a scrape each {SCRAPE_SECONDS:g} s: {pair.observed}\n\n{report(found)}\n{sentence}"
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
