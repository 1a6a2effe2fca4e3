"""The simulation of many workers on one Redis: what it counts, and that it runs."""

import pytest

from benchmarks.scale import measuring
from benchmarks.scale.__main__ import processor_per_request
from benchmarks.scale.accounting import part_of
from benchmarks.scale.measuring import Measured, Usage, measure
from benchmarks.scale.worker import SHARED_LIMIT
from tests.redis_server import RedisServer

IDLE = Usage(processor=0.01, main_thread=0.01, commands=20, received=0, sent=0)
LOAD = Usage(processor=0.11, main_thread=0.11, commands=2_000, received=0, sent=0)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (("EVALSHA", "abc", 2, "gw:{crm}:e", "x"), "cache"),
        (("EVALSHA", "abc", 1, "gw:{crm}:l:0123"), "leases"),
        (("EVALSHA", "abc", 1, "gw:{crm}:hot"), "hits"),
        (("GET", "gw:breaker:crm"), "circuits"),
        (("XREAD", "BLOCK", 1, "STREAMS", b"gw:{events}", "0-0"), "feed"),
        (("EVALSHA", "abc", 5, "gw:{metrics}:open"), "counters"),
        (("EVALSHA", "abc", 1, "gw:rate:0123"), "limits"),
        (("TIME",), "link"),
    ],
)
def test_commands_are_counted_by_the_part_that_asks(command: tuple[object, ...], part: str) -> None:
    assert part_of("gw", command) == part


def measured_at(rate: float, workers: int = 2) -> Measured:
    return Measured(
        workers=workers,
        idle=IDLE,
        load=LOAD,
        rate=rate,
        failed=0,
        calls={},
        sent={},
        messages={},
        idle_calls={},
        agreed=0.0,
        granted=0,
    )


def test_the_share_at_a_rate_follows_from_what_a_request_takes() -> None:
    measured = measured_at(1_000)
    assert measured.processor_per_request == pytest.approx(100e-6)
    assert measured.share(500, 100e-6) == pytest.approx(11.0)


def test_what_a_request_takes_is_measured_where_the_workers_are_loaded() -> None:
    """Workers that share two processors with all others send less, and what they send each second weighs more."""
    several = [measured_at(1_000), measured_at(4_000, workers=16), measured_at(100, workers=64)]
    assert processor_per_request(several, 500) == several[1].processor_per_request
    assert processor_per_request(several[2:], 500) == several[2].processor_per_request


@pytest.mark.slow
def test_two_workers_share_a_limit_and_a_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "IDLE_SECONDS", 1.5)
    monkeypatch.setattr(measuring, "SETTLE_SECONDS", 0.5)
    server = RedisServer()
    server.start()
    try:
        measured = measure(server.url, 2, 1, rate=50, seconds=0.5)
    finally:
        server.stop()
    assert measured.granted == SHARED_LIMIT.limit
    assert measured.failed == 0
    assert {"circuits", "counters", "feed"} <= measured.idle_calls.keys()
    assert measured.rate > 0
