"""The time that a request's own limit leaves for a further call."""

from math import inf

import msgspec

from routing.exchange import Exchange
from routing.router.policy import MAX_TOTAL_SECONDS
from routing.router.table import Match


def seconds_left(exchange: Exchange, now: float) -> float:
    """Seconds until the limit, without those in which the client sent its body. `now` is monotonic."""
    total, upload = exchange.match.policy.timeout.total, exchange.call.upload
    waited = 0.0 if upload is None else upload.waited
    return inf if total == inf else total + waited - (now - exchange.started)


def within(match: Match, seconds: float) -> Match:
    """The match with a call that takes no longer than `seconds`."""
    timeout = match.policy.timeout
    if timeout.total <= seconds:
        return match
    limit = msgspec.structs.replace(timeout, total=min(seconds, MAX_TOTAL_SECONDS))
    policy = msgspec.structs.replace(match.policy, timeout=limit)
    return msgspec.structs.replace(match, policy=policy)
