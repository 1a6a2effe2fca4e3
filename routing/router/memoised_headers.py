"""Header fields kept for repeated requests: of a hit, and of a call to a backend."""

from math import inf
from typing import NamedTuple

from resilience.cache.entry import Entry
from routing.http import Header, Headers


class HitHeaders:
    """The header fields of a hit as last sent: valid while the entry, its age and its time to live are the same."""

    __slots__ = ("age", "entry", "headers", "ttl")

    def __init__(self, entry: Entry, age: int, ttl: int, headers: list[Header]) -> None:
        self.entry = entry
        self.age = age
        self.ttl = ttl
        self.headers = headers


class ForwardedHeaders(NamedTuple):
    """The header fields sent to a backend for a request with the fields `source`, except those that differ each time.

    `encoded` is `headers` as bytes for the wire. They are sent until `until` (Unix time), if they contain a token.
    """

    source: Headers
    client: str
    scheme: str
    headers: Headers
    encoded: bytes
    continues_trace: bool
    until: float = inf
