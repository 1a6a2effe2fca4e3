from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.holdoff.waits import announced_wait
from tests.processor_time import milliseconds

NOW = 1_800_000_000.0


def wait(**fields: str) -> float | None:
    return announced_wait([(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()], NOW)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"retry_after": "30"}, 30),
        ({"retry_after": " 1.5 "}, 1.5),
        ({"retry_after": formatdate(NOW + 45, usegmt=True)}, 45),
        ({"retry_after": "Fri, 15 Jan 2027 08:00:45 GMT", "date": "Fri, 15 Jan 2027 08:00:00 GMT"}, 45),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"x_ms_retry_after_ms": "2500", "retry_after_ms": "1500"}, 2.5),
        ({"retry_after": "2", "retry_after_ms": "1500"}, 2),
        ({"x_ratelimit_reset": "1800000060"}, 60),
        ({"x_ratelimit_reset": "1800000060000"}, 60),
        ({"x_ratelimit_reset": "60"}, 60),
        ({"x_ratelimit_reset": "Fri, 15 Jan 2027 08:01:00 GMT"}, 60),
        ({"x_ratelimit_reset_ms": "5000"}, 5),
        ({"retry_after": "1800000060"}, 60),
        ({"retry_after": "2, 30"}, 30),
        ({"retry_after": "30s"}, 30),
        ({"retry_after": "1m30s"}, 90),
        ({"retry_after": "2027-01-15T08:00:30Z"}, 30),
        ({"x_rate_limit_reset": "60"}, 60),
        ({"x_ratelimit_reset": "60", "x_ratelimit_remaining": "0"}, 60),
        ({"x_ratelimit_reset_requests": "6m0s"}, 360),
        ({"x_ratelimit_reset_tokens": "12ms"}, 0.012),
        ({"x_ratelimit_reset_tokens": "1h2m3.5s"}, 3723.5),
        ({"x_ratelimit_reset_requests": "1s", "x_ratelimit_reset_tokens": "4s"}, 4),
        ({"anthropic_ratelimit_requests_reset": "2027-01-15T08:00:30Z"}, 30),
        ({"anthropic_ratelimit_input_tokens_reset": "2027-01-15T09:00:30+01:00"}, 30),
        ({"ratelimit": '"default";r=0;t=30'}, 30),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"ratelimit_reset": "50"}, 50),
        ({"x_hubspot_ratelimit_interval_milliseconds": "10000", "x_hubspot_ratelimit_remaining": "0"}, 10),
        ({"x_hubspot_ratelimit_secondly_remaining": "0"}, 1),
        ({"retry_after": "5", "x_ratelimit_reset": "1800000060"}, 60),
    ],
)
def test_the_longest_wait_is_found(fields: dict[str, str], seconds: float) -> None:
    assert wait(**fields) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"retry_after": "0"},
        {"retry_after": "-1"},
        {"retry_after": "soon"},
        {"retry_after": "1799999999"},
        {"retry_after": "2, soon"},
        {"retry_after": "30 seconds"},
        {"retry_after": "2027-01-15T07:59:30Z"},
        {"x_ratelimit_reset_ms": "5000", "x_ratelimit_remaining": "7"},
        {"retry_after": "²"},
        {"retry_after": "1" * 300},
        {"retry_after": formatdate(NOW - 45, usegmt=True)},
        {"retry_after": "Fri, 99 Jan 2027 08:00:45 GMT"},
        {"x_ratelimit_reset": "1800000060", "x_ratelimit_remaining": "7"},
        {"x_ratelimit_reset_requests": "8.64s", "x_ratelimit_remaining_requests": "9999"},
        {"x_ratelimit_reset": ""},
        {"anthropic_ratelimit_requests_reset": "tomorrow"},
        {"anthropic_ratelimit_requests_reset": "2027-01-15T08:00:30Z", "anthropic_ratelimit_requests_remaining": "3"},
        {"ratelimit": '"default";r=5;t=30'},
        {"x_hubspot_ratelimit_interval_milliseconds": "10000", "x_hubspot_ratelimit_remaining": "9"},
    ],
)
def test_what_demands_no_wait_is_ignored(fields: dict[str, str]) -> None:
    assert wait(**fields) is None


def test_github_names_the_reset_of_a_limit_that_is_not_reached_beside_a_secondary_one() -> None:
    assert wait(retry_after="60", x_ratelimit_reset="1800003000", x_ratelimit_remaining="4990") == 60


def test_the_longest_of_repeated_fields_counts() -> None:
    """As where a proxy before the backend adds one of its own."""
    for values in ((b"2", b"30"), (b"30", b"2"), (b"soon", b"30")):
        assert announced_wait([(b"retry-after", value) for value in values], NOW) == 30
    limits = (b'"minute";r=5;t=9', b'"day";r=0;t=40')
    assert announced_wait([(b"ratelimit", value) for value in limits], NOW) == 40


NAMES = [b"retry-after", b"retry-after-ms", b"date", b"x-ratelimit-reset", b"x-ratelimit-reset-tokens", b"ratelimit"]


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=40))))
def test_nothing_is_raised(headers: list[tuple[bytes, bytes]]) -> None:
    found = announced_wait(headers, NOW)
    assert found is None or found > 0


@pytest.mark.parametrize("value", [b"1" * 190, b"1m" * 95, b"r=0;" * 48, b";r=0" * 48, b" r=0;t" * 28])
def test_no_value_takes_long(value: bytes) -> None:
    headers = [(name, value) for name in NAMES]
    assert milliseconds(lambda: announced_wait(headers, NOW), limit=10) < 10
