"""Conditions on a service's traffic, by the rules of incidents. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from metrics.counting.counts import Fields, buckets
from metrics.counting.histogram import quantiles
from metrics.incidents.incident import SignalKind
from metrics.incidents.traffic import Series, SignalRule, Tally, tally
from metrics.rounding import percent, significant
from resilience.durations import MINUTE
from routing.alerts.policy import AlertCondition, ConditionKind
from routing.router.thresholds import Thresholds

_COUNTS: Final[Mapping[ConditionKind, tuple[SignalKind, Callable[[Tally], int], str]]] = {
    ConditionKind.ERROR_RATE: (SignalKind.ERRORS, lambda found: found.errors, "of responses are errors"),
    ConditionKind.CLIENT_ERROR_RATE: (
        SignalKind.CLIENT_ERRORS,
        lambda found: found.client_errors,
        "of responses are 4xx",
    ),
    ConditionKind.REFUSAL_RATE: (
        SignalKind.REFUSALS,
        lambda found: found.refusals,
        "of requests are refused by a limit",
    ),
}
_SHARES: Final = {ConditionKind.P50: 0.5, ConditionKind.P95: 0.95, ConditionKind.P99: 0.99}


def tally_of_requests(fields: Fields) -> Tally:
    """As for incidents, but with the durations of requests, which callers see, instead of those of backend calls."""
    return replace(tally(fields), calls=buckets(fields, "duration"))


def traffic_summary(
    condition: AlertCondition, minutes: Mapping[int, Tally], thresholds: Thresholds, now: float
) -> str | None:
    """What exceeds the condition's threshold, in words; None if nothing does.

    `minutes` are by their start in Unix seconds. With fewer requests than the thresholds' minimum, nothing does.
    """
    window = condition.window or thresholds.window
    series = Series(minutes, replace(thresholds, window=window), int(now // MINUTE))
    rule = _rule(condition)
    value = series.breach(rule)
    return None if value is None else f"{rule.text(value)} (over {int(window // MINUTE)} min)"


def _rule(condition: AlertCondition) -> SignalRule:
    kind, threshold = condition.kind, condition.threshold
    if kind in _COUNTS:
        incident, count, text = _COUNTS[kind]
        return SignalRule(
            incident,
            threshold,
            lambda found: count(found) / found.requests if found.requests else None,
            lambda found: found.requests,
            lambda share: f"{percent(share, 1)} {text}",
        )
    if kind is ConditionKind.HIT_RATE:  # below its threshold: both with the opposite sign
        return SignalRule(
            SignalKind.HIT_RATE,
            -threshold,
            lambda found: -found.hits / found.lookups if found.lookups else None,
            lambda found: found.lookups,
            lambda value: f"the hit rate is {percent(-value)}",
        )
    share = _SHARES[kind]
    return SignalRule(
        SignalKind.LATENCY,
        threshold,
        lambda found: quantiles(found.calls, (share,))[0],
        lambda found: sum(found.calls.values()),
        lambda seconds: f"{1 - share:.0%} of requests take more than {significant(seconds, 3)} s",
    )
