"""Tables of recorded, replayed and real workers, and what must hold."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from benchmarks.scale.measuring import Usage
from benchmarks.scale.replay.measuring import Real
from benchmarks.scale.replay.sender import Replayed
from benchmarks.stats import Threshold, table, verdict

PROCESSOR: Final = Threshold(50.0, maximum=True)
NONE: Final = Threshold(0, maximum=True)
SAME: Final = Threshold(1.0, maximum=True)
"""Percent by which commands for a request may differ: as many are sent."""
CLOSE: Final = Threshold(10.0, maximum=True)
"""Percent by which what depends on the others may differ."""
SAME_TIME: Final = Threshold(15.0, maximum=True)
"""Percent by which Redis's time for a request may differ from that with real workers. Those of one process send at the
same moments, and Redis takes less time for commands that arrive together.
"""
SAME_COMMANDS: Final = Threshold(5.0, maximum=True)
"""Percent by which the commands for a request, with those in scripts, may differ from those of real workers."""
LATE: Final = Threshold(50.0, maximum=True)
"""Milliseconds."""
STORED: Final = Threshold(99.0)
LOADED: Final = 0.9
"""The share of the wanted rate above which real workers are compared."""

Check = tuple[str, float, Threshold | None]
"""What is checked, its value, and what must hold."""


class Trial(msgspec.Struct, frozen=True):
    """`workers` of `rate` requests a second each, where `wanted` were wanted: `recorded` are the counts of one in
    `seconds`; `real` are as many real workers, if this machine can run them.
    """

    workers: int
    wanted: float
    rate: float
    seconds: float
    recorded: Counter[str]
    replayed: Replayed
    real: Real | None

    @property
    def requests(self) -> float:
        """All workers' in a second."""
        return self.workers * self.rate


def server_rows(trials: Sequence[Trial]) -> str:
    """What the server has to do, for as many workers as are sent and as are real."""
    head = ["workers", "requests/s", "Redis, % of a core", "its main thread", "us/request", "commands/request"]
    head += ["commands/s", "MB/s in", "MB/s out"]
    rows = []
    for trial in trials:
        rows.append(_server(f"{trial.workers} replayed", trial.replayed.usage, trial.requests))
        if trial.real is not None:
            rows.append(_server(f"{trial.workers} real", trial.real.usage, trial.real.rate))
    return table(head, rows)


def request_rows(trial: Trial) -> str:
    """What was sent and received for a thousand requests, by the recorded worker and by all copies."""
    recorded, replayed = trial.recorded, trial.replayed.counts
    one, all_of_them = trial.rate * trial.seconds / 1_000, trial.requests * trial.seconds / 1_000
    names = sorted({*recorded, *replayed} - {"replies"})
    rows = [[name, f"{recorded[name] / one:,.1f}", f"{replayed[name] / all_of_them:,.1f}"] for name in names]
    return table([f"of 1,000 requests, {trial.workers} workers", "recorded", "replayed"], rows)


def profile_rows(trial: Trial) -> str:
    """What takes the server's time."""
    profile, processor = trial.replayed.profile, trial.replayed.usage.processor
    rows = [
        [part, f"{number:,.0f}", f"{profile.seconds[part] / number * 1e6:.1f}", f"{profile.seconds[part] * 100:.1f}"]
        for part, number in sorted(profile.commands.items(), key=lambda item: -profile.seconds[item[0]])
    ]
    executing = sum(profile.seconds.values())
    rows.append(["reading commands, sending replies", "", "", f"{max(0.0, processor - executing) * 100:.1f}"])
    return table([f"{trial.workers} workers", "commands/s", "us each", "% of a core"], rows)


def check_rows(trials: Sequence[Trial], required: int) -> str:
    """`required` is the number of workers for which the server's share must hold."""
    rows = []
    for trial in trials:
        checks = [*_replay_checks(trial, required), *_comparison(trial)]
        for name, value, threshold in checks:
            rows.append([str(trial.workers), name, f"{value:.3g}", verdict(value, threshold)])
    return table(["workers", "check", "value", ""], rows)


def _server(name: str, usage: Usage, requests: float) -> list[str]:
    return [
        name,
        f"{requests:,.0f}",
        f"{usage.processor * 100:.1f}",
        f"{usage.main_thread * 100:.1f}",
        f"{usage.processor / requests * 1e6:.1f}",
        f"{usage.commands / requests:.2f}",
        f"{usage.commands:,.0f}",
        f"{usage.received / 1e6:.2f}",
        f"{usage.sent / 1e6:.2f}",
    ]


def _replay_checks(trial: Trial, required: int) -> list[Check]:
    replayed, recorded = trial.replayed, trial.recorded
    counts, is_required = replayed.counts, trial.workers == required
    close = CLOSE if is_required else None  # of few workers, chance decides how many writes fall into a recording
    shares = {
        name: difference(counts[name] / trial.workers, recorded[name])
        for name in ("reads", "messages", "found", "bytes received")
    }
    return [
        ("rate of the recorded worker, % from the wanted one", difference(trial.rate, trial.wanted), SAME),
        ("Redis, % of a core", replayed.usage.processor * 100, PROCESSOR if is_required else None),
        ("commands sent, % from the recorded ones", difference(counts["commands"], replayed.planned), SAME),
        ("replies, % from the commands", difference(counts["replies"], counts["commands"] + counts["reads"]), SAME),
        ("commands without a reply at the end", replayed.unanswered, NONE),
        ("replies that are errors", replayed.errors.total(), NONE),
        ("responses that were stored, %", 100 * counts["stored"] / max(1, counts["stores"]), STORED),
        *((f"{name}, % from the recorded ones", value, close) for name, value in shares.items()),
        ("sent late, ms at the 99th percentile", replayed.lateness[1] * 1_000, LATE),
        ("sent late, ms at most", replayed.lateness[2] * 1_000, None),
        ("the sender, % of a core", replayed.sender * 100, None),
    ]


def _comparison(trial: Trial) -> list[Check]:
    real = trial.real
    if real is None:
        return []
    ours, theirs = trial.replayed.usage, real.usage
    is_loaded = real.rate >= LOADED * trial.requests
    times = difference(ours.processor / trial.requests, theirs.processor / real.rate)
    commands = difference(ours.commands / trial.requests, theirs.commands / real.rate)
    return [
        ("requests of real workers that failed", real.failed, NONE),
        ("time for a request, % from real workers", times, SAME_TIME if is_loaded else None),
        ("commands for a request, % from real workers", commands, SAME_COMMANDS if is_loaded else None),
    ]


def difference(value: float, expected: float) -> float:
    """Percent of `expected`, without a sign."""
    return 100 * abs(value - expected) / expected if expected else 0.0 if not value else 100.0
