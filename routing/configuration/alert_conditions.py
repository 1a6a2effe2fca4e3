"""Parses the conditions of alerts: `error_rate > 5% for 5m`. No Django, no I/O."""

import re
from typing import Final

from resilience.durations import MINUTE
from routing.alerts.policy import AlertCondition, ConditionKind
from routing.configuration.values import display, duration, string

MAX_DAYS: Final = 365
WARNED_PERCENT: Final = (80, 100)
"""The percentages of a quota at which events are sent: all that workers know of each other's counts."""
MAX_MINUTES: Final = 15
_NUMBER: Final = re.compile(r"(budget|quota|certificate)\.([0-9]{1,3})(d?)")
_COMPARISON: Final = re.compile(r"([a-z0-9_]+) *([<>]) *([0-9]+(?:\.[0-9]+)?)(%|ms|s|m)?(?: +for +([0-9]+[smh]))?")
_PERCENTAGES: Final = (
    *(ConditionKind.ERROR_RATE, ConditionKind.CLIENT_ERROR_RATE, ConditionKind.REFUSAL_RATE),
    ConditionKind.HIT_RATE,
)
_LATENCIES: Final = (ConditionKind.P50, ConditionKind.P95, ConditionKind.P99)
_EVENTS: Final = (
    *(ConditionKind.CIRCUIT, ConditionKind.TARGET, ConditionKind.OUT_OF_SERVICE, ConditionKind.WEBHOOK),
    *(ConditionKind.FAST_BURN, ConditionKind.SLOW_BURN),
)
_FORMS: Final = (
    f"{', '.join(_EVENTS)}, budget.80, quota.80, quota.100, certificate.14d, 'error_rate > 5% for 5m', "
    "'p99 > 2s for 5m' or 'hit_rate < 40%'"
)


def condition(value: object) -> AlertCondition:
    """Raises ValueError."""
    text = " ".join(string(value).split())
    if text in _EVENTS:
        return AlertCondition(text, ConditionKind(text))
    if form := _NUMBER.fullmatch(text):
        return _numbered(text, ConditionKind(form[1]), int(form[2]), form[3])
    if form := _COMPARISON.fullmatch(text):
        return _comparison(*form.groups())
    raise ValueError(f"must be a condition such as {_FORMS}, not {display(value)}")


def _numbered(text: str, kind: ConditionKind, number: int, unit: str) -> AlertCondition:
    if kind is ConditionKind.CERTIFICATE:
        if not unit or not 1 <= number <= MAX_DAYS:
            raise ValueError(f"a certificate's condition is certificate.14d: 1 to {MAX_DAYS} days before it ends")
    elif unit:
        raise ValueError(f"{kind}.{number} is in percent, without 'd'")
    elif kind is ConditionKind.QUOTA and number not in WARNED_PERCENT:
        raise ValueError("a quota's condition is quota.80 or quota.100")
    elif not 1 <= number <= 100:
        raise ValueError("a budget's condition is budget.1 to budget.100")
    return AlertCondition(text, kind, float(number))


def _comparison(name: str, sign: str, number: str, unit: str | None, window: str | None) -> AlertCondition:
    kind = next((each for each in (*_PERCENTAGES, *_LATENCIES) if each == name), None)
    if kind is None:
        raise ValueError(f"{name!r} is not measured: {', '.join((*_PERCENTAGES, *_LATENCIES))}")
    expected = "<" if kind is ConditionKind.HIT_RATE else ">"
    if sign != expected:
        raise ValueError(f"{kind} is compared with {expected}")
    threshold = _percent(number, unit) if kind in _PERCENTAGES else _seconds(number, unit)
    text = f"{kind} {sign} {number}{unit}"
    if window is None:
        return AlertCondition(text, kind, threshold)
    seconds = float(duration(window))
    if not MINUTE <= seconds <= MAX_MINUTES * MINUTE or seconds % MINUTE:
        raise ValueError(f"'for' takes whole minutes, from 1m to {MAX_MINUTES}m")
    return AlertCondition(f"{text} for {int(seconds // MINUTE)}m", kind, threshold, seconds)


def _percent(number: str, unit: str | None) -> float:
    if unit != "%" or float(number) > 100:
        raise ValueError("a rate is compared with a percentage, such as 5%")
    return float(number) / 100


def _seconds(number: str, unit: str | None) -> float:
    if unit not in ("ms", "s", "m"):
        raise ValueError("a latency is compared with a duration, such as 500ms or 2s")
    return float(duration(f"{number}{unit}"))
