"""The scripted day of a team, its accounting, and the clock it is played by."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from benchmarks import day
from benchmarks.timelapse import Timelapse

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = {address: ["a", "b"] for address in day.PEOPLE}
READ = day.Read("slack", "POST", "/conversations.history", "channel=C1", "channel:C1")


class TestScript:
    def test_the_day_has_ten_thousand_requests_in_order(self) -> None:
        visits = day.visits(MESSAGES)
        assert len(visits) == 10_000
        assert all(before.at <= after.at for before, after in pairwise(visits))
        assert {visit.person for visit in visits} == set(range(20))

    def test_each_person_requests_each_service_twice_a_day(self) -> None:
        counts = dict.fromkeys(day.REQUESTS, 0)
        for visit in day.visits(MESSAGES):
            if visit.person == 7:
                counts[visit.read.service] += 1
        assert counts == {service: 2 * requests for service, requests in day.REQUESTS.items()}

    def test_every_run_has_the_same_day(self) -> None:
        assert day.visits(MESSAGES) == day.visits(MESSAGES)
        assert day.changes() == day.changes() != day.changes(seed=3)

    def test_every_change_concerns_something_that_is_read(self) -> None:
        read = {visit.read.resource for visit in day.visits(MESSAGES)}
        assert {change.resource for change in day.changes()} <= read


class TestSource:
    def test_a_response_is_outdated_since_the_change_that_followed_it(self) -> None:
        source = day.Source()
        for at, body in ((0, b"one"), (10, b"two"), (15, b"two"), (20, b"three")):
            source.record(READ, at, body)
        assert source.outdated_seconds(READ, 21, b"three") == 0
        assert source.outdated_seconds(READ, 21, b"two") == 1
        assert source.outdated_seconds(READ, 21, b"one") == 11
        assert source.outdated_seconds(READ, 21, b"never given") is None

    def test_a_body_that_is_current_again_is_not_outdated(self) -> None:
        source = day.Source()
        for at, body in ((0, b"one"), (10, b"two"), (20, b"one")):
            source.record(READ, at, body)
        assert source.outdated_seconds(READ, 30, b"one") == 0

    def test_a_change_concerns_the_requests_of_its_resource(self) -> None:
        source = day.Source()
        other = READ._replace(resource="channel:C2", body="channel=C2")
        for read in (READ, other):
            source.record(read, 0, b"")
        assert source.dependent("channel:C1") == [READ]


class TestTally:
    def test_rates_and_late_responses(self) -> None:
        tally = day.Tally(calls=1)
        for status, verdict, outdated in ((200, "MISS", 0.0), (200, "HIT", 1.5), (200, "HIT", 2.5), (502, "", None)):
            tally.count(status, verdict, outdated)
        assert (tally.requests, tally.hit_rate, tally.saved) == (4, 0.5, 0.75)
        assert (tally.outdated, tally.late, tally.failed) == ([1.5, 2.5], 1, 1)


def test_a_module_runs_by_the_clock_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "played.py").write_text("import time\nprint(time.time(), flush=True)\ninput()\nprint(time.time())\n")
    command = [sys.executable, "-m", "benchmarks.timelapse", str(tmp_path / "clock"), "played"]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    with (
        Timelapse(tmp_path / "clock") as clock,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
        ) as process,
    ):
        assert process.stdout
        first = float(process.stdout.readline())
        clock.set(3_600)
        later, _ = process.communicate("\n")
    assert 3_600 <= float(later) - first < 7_200
