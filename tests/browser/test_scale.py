"""The ticks of the dashboard's charts: round, and right while clocks change."""

from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Gateway

# Europe/Berlin: at 01:00 UTC, 02:00 becomes 03:00 on 29 March 2026, and 03:00 becomes 02:00 on 25 October 2026.
SPRING, AUTUMN = 1_774_746_000, 1_792_890_000


@pytest.fixture(scope="module")
def scale(browser: Browser, gateway: Gateway) -> Any:
    """Calls a function of scale.js in Berlin."""
    context = browser.new_context(timezone_id="Europe/Berlin")
    page = context.new_page()
    page.goto(f"{gateway.url}/admin/login/")
    code = """([name, args]) => import("/static/dashboard/scale.js").then((scale) => scale[name](...args))"""
    yield lambda name, *args: page.evaluate(code, [name, args])
    context.close()


def test_ticks_of_values_are_round_and_reach_the_highest(scale: Any) -> None:
    assert scale("valueTicks", 97) == [0, 50, 100]
    assert scale("valueTicks", 0.0031) == [0, 0.001, 0.002, 0.003, 0.004]
    assert scale("valueTicks", 0) == [0, 1]


@pytest.mark.parametrize(
    ("changes_at", "labels"),
    [
        (SPRING, ["01:00", "01:30", "03:00", "03:30", "04:00"]),
        (AUTUMN, ["02:00", "02:30", "02:00", "02:30", "03:00"]),
    ],
)
def test_ticks_have_equal_distances_while_an_hour_is_left_out_or_repeated(
    scale: Any, changes_at: int, labels: list[str]
) -> None:
    ticks = scale("timeTicks", changes_at - 3_600, changes_at + 3_600, 6)
    assert [tick["at"] - ticks[0]["at"] for tick in ticks] == [0, 1_800, 3_600, 5_400, 7_200]
    assert [tick["label"] for tick in ticks] == labels


def test_days_begin_at_the_local_midnight_and_weeks_on_monday(scale: Any) -> None:
    days = scale("timeTicks", AUTUMN - 86_400, AUTUMN + 2 * 86_400, 3)
    assert [tick["label"] for tick in days] == ["25 Oct", "26 Oct", "27 Oct"]
    assert days[1]["at"] - days[0]["at"] == 25 * 3_600
    weeks = scale("timeTicks", AUTUMN - 20 * 86_400, AUTUMN + 20 * 86_400, 6)
    assert [tick["label"] for tick in weeks] == ["12 Oct", "19 Oct", "26 Oct", "2 Nov", "9 Nov"]


def test_a_step_is_said_in_local_time(scale: Any) -> None:
    assert scale("stepText", AUTUMN - 86_400, 900) == "24 Oct, 03:00\N{EN DASH}03:15"
    assert scale("stepText", AUTUMN - 3_600, 86_400) == "25 Oct, 02:00\N{EN DASH}26 Oct, 01:00"
