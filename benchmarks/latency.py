"""What the gateway adds to an answer's time: `python -m benchmarks.latency [--rates 500,1000,2000] [--seconds 5]`.

Windows of the same fixed rate take turns: straight to the backend, through the gateway uncached, and cached. What the
client itself takes is in the direct figures, so a difference of percentiles is the gateway's own.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks import machine, results, servers
from benchmarks.figures import PERCENTILES, Aim, percentile, table, verdict
from benchmarks.openloop import Players, exact_timers

DIRECT: Final = "straight to the backend"
MISS: Final = "through the gateway, a miss"
HIT: Final = "through the gateway, a hit"
ADDED: Final = "added by a miss"
AIMS: Final = {(1_000, 50.0): Aim(0.6, most=True), (1_000, 99.0): Aim(3.0, most=True)}
"""Milliseconds, by rate and percentile."""

Timed = dict[int, dict[str, list[float]]]
"""Seconds by rate and way, ascending."""


class Windows:
    """All windows of one run: for each rate and way, what was seen in every round."""

    def __init__(self, ways: dict[str, str], key: str, seconds: float) -> None:
        self._ways = ways
        self._key = key
        self._seconds = seconds
        self.timed: Timed = {}
        self.lateness: dict[int, list[float]] = {}

    def play(self, rate: int) -> None:
        """One window of each way. Raises ValueError when an answer is not what was asked for."""
        for way, url in self._ways.items():
            with Players(url, self._key) as players:
                gc.collect()
                gc.disable()
                played = players.play(rate, round(rate * self._seconds))
                gc.enable()
            if played.refused:
                raise ValueError(f"{played.refused} answers were not 200 {way}")
            self.timed.setdefault(rate, {}).setdefault(way, []).extend(played.latencies)
            if way == DIRECT:
                self.lateness.setdefault(rate, []).extend(played.lateness)

    def settle(self) -> None:
        for ways in self.timed.values():
            for times in ways.values():
                times.sort()
        for late in self.lateness.values():
            late.sort()


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    machine.allow_many_connections()
    exact_timers()
    rates = [int(rate) for rate in options.rates.split(",")]
    with servers.backend() as origin, servers.gateway(origin) as gateway:
        urls = {
            DIRECT: f"{origin}/miss/small",
            MISS: f"{gateway.services}/bench/miss/small",
            HIT: f"{gateway.services}/bench/small",
        }
        windows = Windows(urls, gateway.key, options.seconds)
        for rate in rates:
            windows.play(rate)  # warms both, and is thrown away
        windows.timed.clear()
        windows.lateness.clear()
        for _ in range(options.rounds):
            for rate in rates:
                windows.play(rate)
    windows.settle()
    report = section(windows.timed, windows.lateness)
    report += f"\n{options.rounds} rounds of {options.seconds:g} s for each way and rate.\n"
    if options.dry:
        print(report)
    else:
        results.publish("Latency", report, command=" ".join(["python -m benchmarks.latency", *arguments]))


def section(timed: Timed, lateness: dict[int, list[float]]) -> str:
    """Milliseconds at each percentile, the difference that a miss makes, and what of it is the client's own."""
    head = ["requests/s", "way", *(f"p{share:g}, ms" for share in PERCENTILES), ""]
    rows = []
    for rate, ways in timed.items():
        for way, times in ways.items():
            rows.append([f"{rate:,}", way, *(f"{_ms(times, share):.2f}" for share in PERCENTILES), ""])
        gained = {share: added(ways, share) for share in PERCENTILES}
        told = [f"{gained[share]:.2f}{_aimed(rate, share, gained[share])}" for share in PERCENTILES]
        rows.append([f"{rate:,}", ADDED, *told, _verdict(rate, gained)])
    late = ", ".join(f"{_ms(times, 99):.2f} ms at {rate:,}/s" for rate, times in lateness.items())
    return table(head, rows) + f"\nThe client sends late by (p99): {late}.\n"


def added(ways: dict[str, list[float]], share: float) -> float:
    """Milliseconds between the two ways at a percentile."""
    return _ms(ways[MISS], share) - _ms(ways[DIRECT], share)


def _aimed(rate: int, share: float, figure: float) -> str:
    aim = AIMS.get((rate, share))
    return f" (under {aim.bound:g}: {verdict(figure, aim)})" if aim else ""


def _verdict(rate: int, gained: dict[float, float]) -> str:
    held = [aim.reached(gained[share]) for (at, share), aim in AIMS.items() if at == rate]
    return ("pass" if all(held) else "**short**") if held else ""


def _ms(ordered: Sequence[float], share: float) -> float:
    return percentile(ordered, share) * 1_000


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--rates", default="500,1000,2000", help="requests a second, with commas between them")
    parser.add_argument("--seconds", type=float, default=5, help="of each window")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="print, and leave results.md as it is")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
