"""The verdict of `make watched`."""

import pytest

from benchmarks import watched
from benchmarks.dashboard import Round


def pairs(*ratios: float, cpu: float = 1.0) -> list[tuple[Round, Round]]:
    return [(Round(1_000, 2_000), Round(1_000 * ratio, 2_000 * cpu)) for ratio in ratios]


@pytest.mark.parametrize(
    ("found", "code", "text"),
    [
        (pairs(0.99, 1.0, 0.985, 0.98), watched.PASS, "PASS"),
        (pairs(0.96, 0.97, 0.965, 0.97), watched.FAIL, "hit (requests/s)"),
        (pairs(1.0, 1.0, 1.0, 1.0, cpu=0.95), watched.FAIL, "hit (requests/s of processor)"),
        (pairs(0.9, 1.1, 0.95, 1.05), watched.UNCLEAR, "UNCLEAR"),
    ],
)
def test_the_exit_status_follows_from_the_measured_shares(
    found: list[tuple[Round, Round]], code: int, text: str
) -> None:
    lines = watched.lines("hit", found)
    number, sentence = watched.verdict(lines)
    assert number == code
    assert text in sentence
    assert watched.report(lines).count("requests/s") == 2


def test_the_services_differ_in_the_request_log_alone() -> None:
    plain, logged = watched.CONFIGURATION.split(f"  {watched.WATCHED}:")
    assert plain.partition(f"{watched.PLAIN}:")[2].replace("    request_log: off", "").strip() == logged.strip()
