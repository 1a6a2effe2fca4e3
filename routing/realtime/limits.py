"""How much one connection, one caller and one worker may ask for."""

from collections import deque
from typing import Final

import msgspec

from resilience.ratelimit.policy import RatePolicy

MESSAGE_BYTES: Final = 4_096
"""A client's message; one that bears a token may be as long as a token."""
TOKEN_MESSAGE_BYTES: Final = 20_480
EVENT_BYTES: Final = 64 * 1_024
"""What a backend publishes, whole."""
TOPICS_AT_ONCE: Final = 100
LONGEST_TOPIC: Final = 500
QUEUED_EVENTS: Final = 256
QUEUED_CHARACTERS: Final = 1_048_576
HANDSHAKES: Final = RatePolicy(6_000, 60.0)
"""Sockets and streams a known caller may open; an unknown one has the gateway's own limit, by address."""
PUBLISHING: Final = RatePolicy(6_000, 60.0)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds and counts. A program may hold more connections than a person: it speaks for many."""

    messages: int = 60
    topics: int = 100
    connections: int = 10_000
    per_person: int = 64
    per_program: int = 1_000
    unknown: int = 500
    unknown_per_address: int = 20
    authenticate: float = 5.0
    heartbeat: float = 25.0
    idle: float = 60.0
    stuck: float = 10.0
    goodbye: float = 2.0

    def connections_of(self, caller: str) -> int:
        return self.per_program if caller.startswith("key:") else self.per_person


class Budget:
    """At most `limit` messages in any sixty seconds. Times are monotonic seconds."""

    __slots__ = ("_limit", "_times")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: deque[float] = deque(maxlen=limit)

    def spend(self, now: float) -> bool:
        if len(self._times) == self._limit and now - self._times[0] < 60.0:
            return False
        self._times.append(now)
        return True
