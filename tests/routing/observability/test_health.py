import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from routing.observability.health import Check, Health, HealthPages, Unhealthy


def check_returning(status: Health) -> Check:
    async def check() -> Health:
        return status

    return check


async def failing_check() -> Health:
    raise OSError("10.1.1.1 refused")


def pages(checks: Mapping[str, Check], ready: bool = True, now: list[float] | None = None) -> HealthPages:
    clock = now or [0.0]
    return HealthPages(lambda: checks, lambda: ready, timer=lambda: clock[0])


@pytest.mark.parametrize(
    ("statuses", "code", "overall"),
    [
        ((Health.OK, Health.OFF), 200, "ok"),
        ((Health.OK, Health.DEGRADED), 200, "degraded"),
        ((Health.DEGRADED, Health.DOWN), 503, "down"),
    ],
)
async def test_the_overall_status_is_the_worst_of_all_checks(
    statuses: tuple[Health, ...], code: int, overall: str
) -> None:
    response = await pages({str(i): check_returning(status) for i, status in enumerate(statuses)}).response(
        "/health/deep"
    )
    assert response is not None
    assert response.status == code
    assert msgspec.json.decode(response.body)["status"] == overall  # type: ignore[arg-type]


async def test_a_check_that_raises_is_down_without_details() -> None:
    response = await pages({"database": failing_check}).response("/health/deep")
    assert response is not None
    document = msgspec.json.decode(response.body)  # type: ignore[arg-type]
    assert document["checks"]["database"]["status"] == "down"
    assert b"10.1.1.1" not in response.body  # type: ignore[operator]


async def check_with_a_reason() -> Health:
    raise Unhealthy(Health.DEGRADED, "the keys are stale")


async def test_a_check_may_give_its_reason() -> None:
    response = await pages({"keys": check_with_a_reason, "redis": check_returning(Health.OK)}).response("/health/deep")
    assert response is not None
    document = msgspec.json.decode(response.body)  # type: ignore[arg-type]
    assert (response.status, document["status"]) == (200, "degraded")
    assert document["checks"]["keys"]["reason"] == "the keys are stale"
    assert set(document["checks"]["redis"]) == {"status", "ms"}


async def test_checks_run_at_most_once_in_five_seconds() -> None:
    runs, now = [], [0.0]

    async def check() -> Health:
        runs.append(now[0])
        return Health.OK

    health = pages({"redis": check}, now=now)
    await asyncio.gather(*(health.response("/health/deep") for _ in range(20)))
    now[0] = 4.9
    await health.response("/health/deep")
    now[0] = 5.0
    await health.response("/health/deep")
    assert runs == [0.0, 5.0]


async def test_liveness_and_readiness_run_no_checks() -> None:
    health = pages({"database": failing_check}, ready=False)
    live, ready, other = [await health.response(path) for path in ("/health", "/health/ready", "/health/other")]
    assert live is not None
    assert ready is not None
    assert (live.status, ready.status, other) == (200, 503, None)
