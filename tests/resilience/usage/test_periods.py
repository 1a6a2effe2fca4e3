"""When periods begin and end, at the true instants of each time zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.usage.periods import period_at
from resilience.usage.policy import Anchor, Per, QuotaPolicy

BERLIN = "Europe/Berlin"
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago",
    "Pacific/Apia", "Africa/Casablanca", "Asia/Kathmandu", "America/Sao_Paulo",
)  # fmt: skip


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def period(now: str, per: Per, zone: str = "UTC", signed_up: str | None = None) -> tuple[str, str]:
    anchor = Anchor.SIGNUP if signed_up else Anchor.CALENDAR
    policy = QuotaPolicy(amount=1, per=per, anchor=anchor, timezone=zone)
    found = period_at(policy, unix(now), unix(signed_up) if signed_up else 0.0)
    starts, ends = (datetime.fromtimestamp(instant, UTC).isoformat()[:16] + "Z" for instant in found)
    return starts, ends


@pytest.mark.parametrize(
    ("now", "per", "zone", "signed_up", "expected"),
    [
        ("2026-01-31T23:30Z", Per.MONTH, "UTC", None, ("2026-01-01T00:00Z", "2026-02-01T00:00Z")),
        ("2026-01-31T23:30Z", Per.MONTH, "Europe/Berlin", None, ("2026-01-31T23:00Z", "2026-02-28T23:00Z")),
        ("2026-03-29T12:00Z", Per.MONTH, "Europe/Berlin", None, ("2026-02-28T23:00Z", "2026-03-31T22:00Z")),
        ("2026-10-31T23:30Z", Per.MONTH, "America/New_York", None, ("2026-10-01T04:00Z", "2026-11-01T04:00Z")),
        ("2026-12-31T18:29Z", Per.YEAR, "Asia/Kolkata", None, ("2025-12-31T18:30Z", "2026-12-31T18:30Z")),
        # A signup on the 31st: the last day of shorter months, and the 31st again after them.
        ("2026-02-27T00:00Z", Per.MONTH, "UTC", "2026-01-31T10:00Z", ("2026-01-31T10:00Z", "2026-02-28T10:00Z")),
        ("2026-03-30T00:00Z", Per.MONTH, "UTC", "2026-01-31T10:00Z", ("2026-02-28T10:00Z", "2026-03-31T10:00Z")),
        ("2026-04-30T10:00Z", Per.MONTH, "UTC", "2026-01-31T10:00Z", ("2026-04-30T10:00Z", "2026-05-31T10:00Z")),
        ("2027-03-01T00:00Z", Per.YEAR, "UTC", "2024-02-29T10:00Z", ("2027-02-28T10:00Z", "2028-02-29T10:00Z")),
        # Days of 23 and 25 hours.
        ("2026-03-29T12:00Z", Per.DAY, "Europe/Berlin", None, ("2026-03-28T23:00Z", "2026-03-29T22:00Z")),
        ("2026-10-25T12:00Z", Per.DAY, "Europe/Berlin", None, ("2026-10-24T22:00Z", "2026-10-25T23:00Z")),
        # A time that is skipped, and one that occurs twice.
        ("2026-03-29T01:00Z", Per.DAY, BERLIN, "2026-03-20T01:30Z", ("2026-03-28T01:30Z", "2026-03-29T01:30Z")),
        ("2026-10-25T01:00Z", Per.DAY, BERLIN, "2026-10-20T00:30Z", ("2026-10-25T00:30Z", "2026-10-26T01:30Z")),
        # Samoa had no 30 December 2011; Chile's clocks change at midnight.
        ("2011-12-30T12:00Z", Per.DAY, "Pacific/Apia", None, ("2011-12-30T10:00Z", "2011-12-31T10:00Z")),
        ("2026-09-06T05:00Z", Per.DAY, "America/Santiago", None, ("2026-09-06T04:00Z", "2026-09-07T03:00Z")),
        ("2026-11-29T12:00Z", Per.WEEK, "UTC", None, ("2026-11-23T00:00Z", "2026-11-30T00:00Z")),
        ("2026-11-29T12:20Z", Per.HOUR, "Asia/Kolkata", None, ("2026-11-29T11:30Z", "2026-11-29T12:30Z")),
        ("2026-11-29T12:20Z", Per.HOUR, "UTC", "2026-01-01T00:45Z", ("2026-11-29T11:45Z", "2026-11-29T12:45Z")),
    ],
)  # fmt: skip
def test_a_period_begins_and_ends_by_the_local_calendar(
    now: str, per: Per, zone: str, signed_up: str | None, expected: tuple[str, str]
) -> None:
    assert period(now, per, zone, signed_up) == expected


@given(
    st.integers(1_000_000_000, 4_000_000_000),
    st.integers(1_000_000_000, 4_000_000_000),
    st.sampled_from(Per),
    st.sampled_from(Anchor),
    st.sampled_from(ZONES),
)
def test_each_instant_is_in_one_period_and_periods_follow_each_other(
    now: int, signed_up: int, per: Per, anchor: Anchor, zone: str
) -> None:
    policy = QuotaPolicy(amount=1, per=per, anchor=anchor, timezone=zone)
    current = period_at(policy, now, signed_up)
    assert current.starts <= now < current.ends
    assert period_at(policy, current.starts, signed_up) == current
    assert period_at(policy, current.ends - 0.001, signed_up) == current
    following = period_at(policy, current.ends, signed_up)
    if per is not Per.HOUR or anchor is Anchor.SIGNUP:  # clocks that change by half an hour move the hours
        assert following.starts == current.ends
        assert period_at(policy, current.starts - 1, signed_up).ends == current.starts


@given(st.integers(1_000_000_000, 4_000_000_000), st.sampled_from(ZONES))
def test_calendar_months_begin_when_the_local_month_changes(now: int, zone: str) -> None:
    found = period_at(QuotaPolicy(amount=1, per=Per.MONTH, timezone=zone), now)
    before, first, last = (
        datetime.fromtimestamp(instant, ZoneInfo(zone)) for instant in (found.starts - 1, found.starts, found.ends - 1)
    )
    assert before.month != first.month == last.month
