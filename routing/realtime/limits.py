"""Limits per connection, per caller and per worker."""

from collections import Counter, deque
from typing import Final

import msgspec

from resilience.ratelimit.policy import RatePolicy
from routing.caller import KEY_CALLER

MAX_MESSAGE_BYTES: Final = 4_096
"""The longest message of a client, unless it carries a token."""
MAX_AUTH_MESSAGE_BYTES: Final = 20_480
MAX_EVENT_BYTES: Final = 64 * 1_024
"""The longest body of a publication."""
MAX_TOPICS_PER_MESSAGE: Final = 100
MAX_TOPIC_LENGTH: Final = 500
MAX_QUEUED_EVENTS: Final = 256
MAX_QUEUED_CHARACTERS: Final = 1_048_576
HANDSHAKE_RATE: Final = RatePolicy(6_000, 60.0)
"""Sockets and streams opened by an authenticated caller. Others have the gateway's limit per address."""
PUBLISH_RATE: Final = RatePolicy(6_000, 60.0)
WINDOW_SECONDS: Final = 60.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and seconds. An API key may hold more connections than a user: it acts for many of them."""

    messages_per_minute: int = 60
    topics: int = 100
    connections: int = 10_000
    per_user: int = 64
    per_api_key: int = 1_000
    unauthenticated: int = 500
    unauthenticated_per_address: int = 20
    authentication_timeout: float = 5.0
    heartbeat_interval: float = 25.0
    idle_timeout: float = 60.0
    stall_timeout: float = 10.0
    close_timeout: float = 2.0

    def connections_for(self, caller_id: str) -> int:
        return self.per_api_key if caller_id.startswith(KEY_CALLER) else self.per_user


class CallerConnections:
    """Counts the open WebSockets to services of each caller, or of each address without one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open = Counter[str]()

    def enter(self, caller_id: str) -> bool:
        """Count a connection. Returns whether the caller may have it; then `leave` must be called at its end."""
        if self._open[caller_id] >= self._limits.connections_for(caller_id):
            return False
        self._open[caller_id] += 1
        return True

    def leave(self, caller_id: str) -> None:
        self._open[caller_id] -= 1
        if self._open[caller_id] <= 0:
            del self._open[caller_id]


class MessageQuota:
    """Allows at most `limit` messages in any sixty seconds. Times are monotonic seconds."""

    __slots__ = ("_limit", "_times")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: deque[float] = deque(maxlen=limit)

    def allow(self, now: float) -> bool:
        if len(self._times) == self._limit and now - self._times[0] < WINDOW_SECONDS:
            return False
        self._times.append(now)
        return True
