"""What the selectors return: plain records, shared by the REST API, the dashboard and Prometheus."""

import msgspec


class RequestStats(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one service, or of all, over a period.

    `errors` are responses with status 500 and above. `hits` were served from the cache, `misses` could have been but
    were not; `hit_rate` is a percentage with two decimals. Latencies are seconds, within 5 %, None without requests.
    """

    requests: int = 0
    errors: int = 0
    hits: int = 0
    misses: int = 0
    hit_rate: float = 0.0
    rate_limited: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class TrafficStats(RequestStats, frozen=True, kw_only=True):
    """The requests of one or several services, and the calls to their backends.

    `saved_*` is what the cache saved: backend calls, their average duration in seconds, and US dollars.
    """

    status_classes: dict[str, int] = {}
    refused: int = 0
    aborted: int = 0
    bytes: int = 0
    backend_p50: float | None = None
    backend_p95: float | None = None
    backend_p99: float | None = None
    saved_calls: int = 0
    saved_seconds: float = 0.0
    saved_usd: float = 0.0


class HoldOffStatus(msgspec.Struct, frozen=True):
    """Calls to a backend that it has limited: none is made until then (Unix seconds), and then one probe."""

    calls: str
    until: float


class CircuitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A service's circuit. `failures` and `successes` count all calls ever made, `total_requests` also the refused.

    `until` is when an OPEN circuit admits the next probe, or when an operator's override expires: Unix seconds.
    `hold_offs` are those that end last. `quotas` is what remains of the backend's limits, by its names for them.
    """

    service: str
    state: str
    failures: int = 0
    successes: int = 0
    total_requests: int = 0
    until: float | None = None
    reason: str = ""
    hold_offs: tuple[HoldOffStatus, ...] = ()
    quotas: dict[str, int] = {}


class CacheUsage(msgspec.Struct, frozen=True, kw_only=True):
    """All caches together. If the store is unavailable, `connected` is false and `entries` and `bytes` are 0."""

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


class TargetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A target as it is configured, and its condition: `up`, `slow_start`, `ejected`, `down` or `disabled`.

    `workers` says how many see it so (`1 of 4`), if not all do: each worker ejects for itself.
    """

    url: str
    condition: str
    workers: str = ""
    weight: int = 1
    canary: float = 0.0
    always_up: bool = False


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A service: its configuration, its circuit, and its traffic in total and over the last five minutes.

    `sparkline` is the requests in each of the last thirty minutes, oldest first. `faults` say
    why its configuration cannot be loaded; if it `is_out`, its requests are answered 503.
    """

    name: str
    enabled: bool
    targets: tuple[TargetStatus, ...]
    circuit: CircuitStatus
    total: TrafficStats
    recent: TrafficStats
    sparkline: tuple[int, ...]
    faults: tuple[str, ...] = ()
    is_out: bool = False
    labels: dict[str, str] = {}


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole gateway at `at` (Unix seconds). `per_second` is the request rate of the last full minute."""

    at: float
    connected: bool
    per_second: float
    open_circuits: tuple[str, ...]
    total: TrafficStats
    recent: TrafficStats


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at `at` (Unix seconds), from one read, so that its numbers are consistent.

    `services` includes services that are no longer configured and, under "", requests that matched none.
    """

    at: float
    cache: CacheUsage
    circuits: dict[str, CircuitStatus]
    services: dict[str, TrafficStats]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a history, which begins at `start` (Unix seconds)."""

    start: int
    stats: RequestStats


class PathStats(msgspec.Struct, frozen=True, kw_only=True):
    """The cache lookups of one path."""

    path: str
    hits: int
    misses: int


class WarmResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many responses are now cached and how many are not; in a dry run, how many would be fetched."""

    warmed: int
    failed: int
    would_warm: int | None = None
