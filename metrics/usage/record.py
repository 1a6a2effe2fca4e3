"""What is counted of usage, under which key, and how counts are added up. Pure.

All counts are integers, so that sums are exact and merge in any order.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

OTHERS: Final = "(others)"
"""The caller under which callers without a consumer are counted once a day has too many of them."""
MAX_TEXT: Final = 300
"""Characters of a name that are stored. A longer one ends with a digest of itself."""


class UsageKey(NamedTuple):
    """Whose usage of what on which day (`2026-01-31`, in the configured time zone).

    `caller` is the id of a key or identity that has no consumer; both are empty for anonymous requests. `service` and
    `route` are empty for requests that matched none. `currency` is empty for what has no price. `api_key` is the prefix
    of the API key, with and without a consumer; empty for other credentials.
    """

    day: str
    consumer: str = ""
    caller: str = ""
    team: str = ""
    service: str = ""
    route: str = ""
    currency: str = ""
    api_key: str = ""

    @property
    def digest(self) -> str:
        """An id of the key: the same in every worker, and in versions that did not count by API key."""
        parts = self if self.api_key else self[:-1]
        return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


class UsageCounts(msgspec.Struct, array_like=True):
    """Bytes are those of bodies and of WebSockets' messages. `amount` is in billionths of the key's currency. `refused`
    are 4xx responses of the gateway's own, `limited` those of them with status 429.
    """

    requests: int = 0
    errors: int = 0
    cached: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    backend_us: int = 0
    amount: int = 0
    refused: int = 0
    limited: int = 0

    def add(self, other: "UsageCounts") -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.cached += other.cached
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.backend_us += other.backend_us
        self.amount += other.amount
        self.refused += other.refused
        self.limited += other.limited


COUNT_FIELDS: Final = UsageCounts.__struct_fields__

Usage = dict[UsageKey, UsageCounts]


class UsageBatch(msgspec.Struct, frozen=True, array_like=True):
    """Counts of one worker, sealed at Unix time `at`. Stored once, by its id; never changed."""

    id: str
    at: float
    rows: list[tuple[UsageKey, UsageCounts]]


def merge(batches: Iterable[UsageBatch], stored_as: Callable[[UsageKey], UsageKey] = lambda key: key) -> Usage:
    """The sums of several batches, under the keys that `stored_as` returns."""
    total: Usage = {}
    for batch in batches:
        for key, counts in batch.rows:
            add(total, stored_as(key), counts)
    return total


def add(usage: Usage, key: UsageKey, counts: UsageCounts) -> None:
    """Add `counts`, which is not kept, to `usage`."""
    found = usage.get(key)
    if found is None:
        found = usage[key] = UsageCounts()
    found.add(counts)


def text(name: str) -> str:
    """A name as every database can store it: without NUL and lone surrogates, and bounded."""
    name = name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    if len(name) <= MAX_TEXT:
        return name
    return f"{name[: MAX_TEXT - 33]}~{blake2b(name.encode(), digest_size=16).hexdigest()}"


def decimal_amount(nanos: int) -> str:
    """An amount as a decimal number without trailing zeros, such as `0.204`."""
    amount = Decimal(nanos).scaleb(-9).normalize()
    return f"{amount:f}"


def seconds(microseconds: int) -> float:
    return round(microseconds / 1e6, 6)
