"""What the selectors answer: plain records, for the REST API, the dashboard and Prometheus alike."""

import msgspec


class TrafficStats(msgspec.Struct, frozen=True, kw_only=True):
    """One service's numbers, or several services' together, over some stretch of time.

    `errors` are answers of 500 and above; `hits` came from the cache, `misses` did not and might have; `hit_rate` is
    a percentage with two decimals. Latencies are seconds, None without a request, within 5 % of the truth.
    `saved_*` is what answers from the cache have spared: calls, the seconds these take on average, US dollars.
    """

    requests: int = 0
    errors: int = 0
    status_classes: dict[str, int] = {}
    hits: int = 0
    misses: int = 0
    hit_rate: float = 0.0
    rate_limited: int = 0
    refused: int = 0
    aborted: int = 0
    bytes: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    backend_p50: float | None = None
    backend_p95: float | None = None
    backend_p99: float | None = None
    saved_calls: int = 0
    saved_seconds: float = 0.0
    saved_usd: float = 0.0


class CircuitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A service's circuit. `failures` and `successes` are calls since ever, `total_requests` those and the refused.

    `until` is when an OPEN circuit lets the next call try, or when an operator's override ends: Unix seconds.
    """

    service: str
    state: str
    failures: int = 0
    successes: int = 0
    total_requests: int = 0
    until: float | None = None
    reason: str = ""


class CacheUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache holds and what came of it. `connected`: the store answered; else `entries` and `bytes` are 0."""

    connected: bool
    hits: int
    misses: int
    hit_rate: float
    entries: int
    bytes: int
    by_service: dict[str, "ServiceCache"]


class ServiceCache(msgspec.Struct, frozen=True, kw_only=True):
    hits: int = 0
    misses: int = 0
    hit_rate: float = 0.0
    entries: int = 0
    bytes: int = 0


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One service: what is configured, its circuit, its numbers since ever and over the last five minutes.

    `sparkline` is requests in each of the last thirty minutes, oldest first. Targets are their addresses.
    """

    name: str
    enabled: bool
    targets: tuple[str, ...]
    circuit: CircuitStatus
    total: TrafficStats
    recent: TrafficStats
    sparkline: tuple[int, ...]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole gateway at one moment (Unix seconds). `per_second` is the mean over the last whole minute."""

    at: float
    connected: bool
    per_second: float
    open_circuits: tuple[str, ...]
    total: TrafficStats
    recent: TrafficStats


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one moment (Unix seconds), from one reading: its numbers agree with each other.

    `services` has also those that are configured no more, and under the empty name what reached none.
    """

    at: float
    cache: CacheUsage
    circuits: dict[str, CircuitStatus]
    services: dict[str, TrafficStats]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a history, from `start` (Unix seconds) on."""

    start: int
    stats: TrafficStats


class PathStats(msgspec.Struct, frozen=True, kw_only=True):
    """One path's look-ups in the cache."""

    path: str
    hits: int
    misses: int


class WarmResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that are stored now, and those that are not; of a dry run, how many would be fetched."""

    warmed: int
    failed: int
    would_warm: int | None = None
