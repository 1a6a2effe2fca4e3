"""Numbers as the dashboard writes them, and the ticks of its charts: round, and right while clocks change."""

from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Gateway

# Europe/Berlin: at 01:00 UTC, 02:00 becomes 03:00 on 29 March 2026, and 03:00 becomes 02:00 on 25 October 2026.
SPRING, AUTUMN = 1_774_746_000, 1_792_890_000


CALL = """([module, name, args]) => import(`/static/dashboard/${module}.js`).then((found) => found[name](...args))"""


@pytest.fixture(scope="module")
def call(browser: Browser, gateway: Gateway) -> Any:
    """Calls a function of a script in Berlin."""
    context = browser.new_context(timezone_id="Europe/Berlin")
    page = context.new_page()
    page.goto(f"{gateway.url}/admin/login/")
    yield lambda module, name, *args: page.evaluate(CALL, [module, name, args])
    context.close()


@pytest.fixture
def scale(call: Any) -> Any:
    return partial(call, "scale")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rate", {0: "0", 0.028: "0.028", 0.5: "0.5", 1.25: "1.3", 12.4: "12", 1234: "1,234", 1.2e6: "1.2M"}),
        ("tickValue", {0: "0", 0.01: "0.01", 0.5: "0.5", 1: "1", 1.5: "1.5", 12_000: "12K"}),
        ("percent", {0: "0%", 0.004: "<0.1%", 12.34: "12.3%", 99.99: ">99.9%", 100: "100%"}),
        ("latency", {0.000034: "0.03 ms", 0.0012: "1.2 ms", 0.9996: "1.0 s", 12: "12 s"}),
        ("span", {0.018: "18 ms", 3.2: "3.2 s", 59.7: "59 s", 61: "1 min 1 s", 200_000: "2 days"}),
        ("money", {0: "$0", 0.002: "$0.0020", 1.5: "$1.50", 1234: "$1,234", 11_160_000: "$11.2M"}),
    ],
)
def test_a_number_has_the_digits_that_tell_it_from_others(call: Any, name: str, shown: dict[float, str]) -> None:
    assert {value: call("format", name, value) for value in shown} == shown


def test_a_text_from_right_to_left_leaves_the_sentence_around_it_in_order(call: Any) -> None:
    texts = {
        "planned": "planned",
        "\u05e9\u05dc\u05d5\u05dd": "\u2068\u05e9\u05dc\u05d5\u05dd\u2069",
        "a\u202eb": "\u2068a\u202eb\u2069",
    }
    assert {text: call("format", "isolated", text) for text in texts} == texts


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
    assert scale("stepText", AUTUMN - 4 * 3_600, 86_400) == "24 Oct, 23:00\N{EN DASH}25 Oct, 22:00"


def test_the_hour_that_is_repeated_is_told_from_the_one_before(scale: Any) -> None:
    first, second = (scale("stepText", AUTUMN + seconds, 1_800) for seconds in (-3_600, 0))
    assert first == "25 Oct, 02:00 CEST\N{EN DASH}02:30"
    assert second == "25 Oct, 02:00 CET\N{EN DASH}02:30"
    assert scale("stepText", AUTUMN - 1_800, 1_800) == "25 Oct, 02:30 CEST\N{EN DASH}25 Oct, 02:00 CET"
