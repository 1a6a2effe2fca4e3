import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from routing.observability.health import Check, Health, HealthPages


def part(status: Health) -> Check:
    async def check() -> Health:
        return status

    return check


async def broken() -> Health:
    raise OSError("10.1.1.1 refused")


def pages(checks: Mapping[str, Check], ready: bool = True, now: list[float] | None = None) -> HealthPages:
    clock = now or [0.0]
    return HealthPages(lambda: checks, lambda: ready, timer=lambda: clock[0])


@pytest.mark.parametrize(
    ("statuses", "code", "whole"),
    [
        ((Health.OK, Health.OFF), 200, "ok"),
        ((Health.OK, Health.DEGRADED), 200, "degraded"),
        ((Health.DEGRADED, Health.DOWN), 503, "down"),
    ],
)
async def test_the_whole_is_as_well_as_its_worst_part(statuses: tuple[Health, ...], code: int, whole: str) -> None:
    answer = await pages({str(i): part(status) for i, status in enumerate(statuses)}).response("/health/deep")
    assert answer is not None
    assert answer.status == code
    assert msgspec.json.decode(answer.body)["status"] == whole  # type: ignore[arg-type]


async def test_a_part_that_fails_is_down_and_says_no_more() -> None:
    answer = await pages({"database": broken}).response("/health/deep")
    assert answer is not None
    document = msgspec.json.decode(answer.body)  # type: ignore[arg-type]
    assert document["checks"]["database"]["status"] == "down"
    assert b"10.1.1.1" not in answer.body  # type: ignore[operator]


async def test_within_five_seconds_nothing_is_asked_twice() -> None:
    asked, now = [], [0.0]

    async def check() -> Health:
        asked.append(now[0])
        return Health.OK

    health = pages({"redis": check}, now=now)
    await asyncio.gather(*(health.response("/health/deep") for _ in range(20)))
    now[0] = 4.9
    await health.response("/health/deep")
    now[0] = 5.0
    await health.response("/health/deep")
    assert asked == [0.0, 5.0]


async def test_liveness_touches_nothing_and_readiness_asks_only_whether() -> None:
    health = pages({"database": broken}, ready=False)
    alive, ready, other = [await health.response(path) for path in ("/health", "/health/ready", "/health/other")]
    assert alive is not None
    assert ready is not None
    assert (alive.status, ready.status, other) == (200, 503, None)
