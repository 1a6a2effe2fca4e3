"""When the dashboard reports a service's traffic as an incident. No request reads it."""

from math import inf
from typing import Final

import msgspec

from resilience.durations import MINUTE

LATENCY_SHARE: Final = 0.5
"""The default of `latency`, as a share of the time that a backend has to respond."""
MAX_WINDOW: Final = 15 * MINUTE


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """A value above a threshold is an incident; infinity for a threshold that is off.

    Shares of requests over the last `window` seconds: `error_rate` of responses with status 500 and above,
    `client_error_rate` of other 4xx than refusals, `refusal_rate` of requests that a limit has refused. `latency` is
    that of the 95th percentile of calls to the backend, in seconds. `hit_rate_drop` is the share of the hit rate that
    was lost against the time before. Fewer than `minimum_requests` in the window show nothing.
    """

    error_rate: float = 0.05
    client_error_rate: float = 0.5
    refusal_rate: float = 0.2
    latency: float = 5.0
    hit_rate_drop: float = 0.5
    minimum_requests: int = 20
    window: float = 5.0 * MINUTE

    def __post_init__(self) -> None:
        if not MINUTE <= self.window <= MAX_WINDOW or self.window % MINUTE:
            raise ValueError("window must be whole minutes, from 1 to 15")


OFF: Final = Thresholds(error_rate=inf, client_error_rate=inf, refusal_rate=inf, latency=inf, hit_rate_drop=inf)
