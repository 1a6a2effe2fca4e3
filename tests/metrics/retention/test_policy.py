"""RETENTION names tables and how long, or how many of, their rows are kept."""

import math

import pytest

from metrics.retention.policy import DEFAULTS, RetentionLimit, parse
from resilience.durations import DAY, HOUR


def test_what_is_not_named_has_its_default() -> None:
    found = parse("audit_log=2y/500000, history=100 days=off,minutes=72h")
    assert found["audit_log"] == RetentionLimit(730 * DAY, 500_000)
    assert found["history"] == RetentionLimit(rows=100)
    assert found["days"] == RetentionLimit(math.inf)
    assert found["minutes"] == RetentionLimit(72 * HOUR)
    assert found["hours"] == DEFAULTS["hours"]


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_limit_is_shown_as_it_is_written(name: str) -> None:
    assert parse(f"{name}={DEFAULTS[name]}")[name] == DEFAULTS[name]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("audit=1d", "'audit' is not one of minutes, hours"),
        ("audit_log", "'' is not an age such as 90d"),
        ("audit_log=0d", "'0d' is not an age"),
        ("audit_log=1d/", "'1d/' is not an age"),
        ("audit_log=1d/off", "'1d/off' is not an age"),
        ("audit_log=1w", "'1w' is not an age"),
        ("audit_log=-1", "'-1' is not an age"),
        ("minutes=500", "minutes: is kept by age alone"),
        ("history=100, history=10", "history: is set twice"),
        ("audit_log=9999y", "9999y is more than 1000 years: write off"),
    ],
)
def test_what_is_no_limit_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(text)
