"""The latency the gateway adds: `python -m benchmarks.latency [--rates 500,1000,2000] [--seconds 5]`.

Interleaved runs at the same fixed rate: direct to the backend, through the gateway without cache, and with cache. The
direct runs include the client's own cost, so the difference of two percentiles is the gateway's.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks import machine, results, servers
from benchmarks.openloop import OpenLoopClient, minimise_timer_slack
from benchmarks.stats import PERCENTILES, Threshold, percentile, table, verdict

DIRECT: Final = "direct to the backend"
MISS: Final = "through the gateway, miss"
HIT: Final = "through the gateway, hit"
ADDED: Final = "added by a miss"
THRESHOLDS: Final = {(1_000, 50.0): Threshold(0.6, maximum=True), (1_000, 99.0): Threshold(3.0, maximum=True)}
"""Milliseconds, by rate and percentile."""

Latencies = dict[int, dict[str, list[float]]]
"""Seconds by rate and path, ascending."""


class Measurement:
    """The runs of all rates and paths. `delays`: how late the client sent, in seconds by rate."""

    def __init__(self, urls: dict[str, str], key: str, seconds: float) -> None:
        self._urls = urls
        self._key = key
        self._seconds = seconds
        self.latencies: Latencies = {}
        self.delays: dict[int, list[float]] = {}

    def run(self, rate: int) -> None:
        """One run of each path. Raises ValueError for a response other than 200."""
        for path, url in self._urls.items():
            with OpenLoopClient(url, self._key) as client:
                gc.collect()
                gc.disable()
                result = client.run(rate, round(rate * self._seconds))
                gc.enable()
            if result.errors:
                raise ValueError(f"{result.errors} responses were not 200 {path}")
            self.latencies.setdefault(rate, {}).setdefault(path, []).extend(result.latencies)
            if path == DIRECT:
                self.delays.setdefault(rate, []).extend(result.delays)

    def clear(self) -> None:
        self.latencies.clear()
        self.delays.clear()

    def sort(self) -> None:
        for paths in self.latencies.values():
            for latencies in paths.values():
                latencies.sort()
        for delays in self.delays.values():
            delays.sort()


def main(arguments: Sequence[str]) -> None:
    options = _options(arguments)
    machine.raise_open_file_limit()
    minimise_timer_slack()
    rates = [int(rate) for rate in options.rates.split(",")]
    with servers.backend() as origin, servers.gateway(origin) as gateway:
        urls = {
            DIRECT: f"{origin}/miss/small",
            MISS: f"{gateway.services}/bench/miss/small",
            HIT: f"{gateway.services}/bench/small",
        }
        measurement = Measurement(urls, gateway.key, options.seconds)
        for rate in rates:
            measurement.run(rate)  # warm-up
        measurement.clear()
        for _ in range(options.rounds):
            for rate in rates:
                measurement.run(rate)
    measurement.sort()
    report = section(measurement.latencies, measurement.delays)
    report += f"\n{options.rounds} rounds of {options.seconds:g} s for each path and rate.\n"
    if options.dry:
        print(report)
    else:
        results.publish("Latency", report, command=" ".join(["python -m benchmarks.latency", *arguments]))


def section(latencies: Latencies, delays: dict[int, list[float]]) -> str:
    """Percentiles of each path, the latency a miss adds, and the client's own sending delay."""
    head = ["requests/s", "path", *(f"p{percent:g}, ms" for percent in PERCENTILES), ""]
    rows = []
    for rate, paths in latencies.items():
        for path, ordered in paths.items():
            rows.append([f"{rate:,}", path, *(f"{_ms(ordered, percent):.2f}" for percent in PERCENTILES), ""])
        differences = {percent: added(paths, percent) for percent in PERCENTILES}
        cells = [f"{value:.2f}{_threshold(rate, percent, value)}" for percent, value in differences.items()]
        rows.append([f"{rate:,}", ADDED, *cells, _verdict(rate, differences)])
    late = ", ".join(f"{_ms(ordered, 99):.2f} ms at {rate:,}/s" for rate, ordered in delays.items())
    return table(head, rows) + f"\nSending delay of the client (p99): {late}.\n"


def added(paths: dict[str, list[float]], percent: float) -> float:
    """The difference between a miss and a direct request at a percentile, in milliseconds."""
    return _ms(paths[MISS], percent) - _ms(paths[DIRECT], percent)


def _threshold(rate: int, percent: float, value: float) -> str:
    threshold = THRESHOLDS.get((rate, percent))
    return f" (under {threshold.bound:g}: {verdict(value, threshold)})" if threshold else ""


def _verdict(rate: int, differences: dict[float, float]) -> str:
    met = [threshold.met_by(differences[percent]) for (at, percent), threshold in THRESHOLDS.items() if at == rate]
    return ("pass" if all(met) else "**fail**") if met else ""


def _ms(ordered: Sequence[float], percent: float) -> float:
    return percentile(ordered, percent) * 1_000


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--rates", default="500,1000,2000", help="comma-separated requests per second")
    parser.add_argument("--seconds", type=float, default=5, help="duration of each run")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dry", action="store_true", help="print the report without writing results.md")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
