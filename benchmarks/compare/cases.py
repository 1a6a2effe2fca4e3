"""The cases of the comparison: a kind of request, the targets it is sent to, and the ratios the gateway has to meet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.compare.peer_proxies import PeerProxy
from benchmarks.servers import RunningGateway
from benchmarks.stats import Threshold
from benchmarks.wrk import Load, Request

GATEWAY: Final = "gateway"
ON_REDIS: Final = "gateway on Redis"
TWO_ON_REDIS: Final = "gateway on Redis, 2 workers"
BASELINE: Final = "raw ASGI, same fields"
BASELINE_BARE: Final = "raw ASGI, bare"
GRANIAN: Final = "raw ASGI on granian, same fields"
GRANIAN_BARE: Final = "raw ASGI on granian, bare"
BASELINE_PROXY: Final = "raw ASGI proxy"
KEYS: Final = 40_000
"""Entries of the `redis-hit` case: more bytes than the memory tiers of two workers hold. They are requested in rotation
after as many others, so none is in memory when it is requested again.
"""
UNIQUE_KEYS: Final = 1_000_000_000
IDLE: Final = 1_000
BASELINE_THRESHOLDS: Final = dict.fromkeys((BASELINE, BASELINE_BARE, GRANIAN, GRANIAN_BARE), Threshold(0.7))
MIX_ERROR_SHARE: Final = 3 / 8


@dataclass(frozen=True, slots=True)
class Case:
    """`loads` and `thresholds` are by target. The ratio of `subject` to each other target has to meet its threshold.

    `in_rotation`: the entries are in Redis and are requested one after the other, over and over.
    """

    name: str
    title: str
    loads: dict[str, Load]
    subject: str = GATEWAY
    thresholds: dict[str, Threshold] = field(default_factory=dict)
    in_rotation: bool = False


@dataclass(frozen=True, slots=True)
class Targets:
    """The running servers. `gateways` are by target name, `redis` has the ports of their Redis servers."""

    gateways: Mapping[str, RunningGateway]
    baseline: str
    granian: str
    peers: Mapping[str, PeerProxy]
    redis: Mapping[str, int]

    @property
    def key_field(self) -> tuple[tuple[str, str], ...]:
        """Every target is sent the same header fields, including those that need no API key."""
        return (("X-API-Key", self.gateways[GATEWAY].key),)

    def gateway_load(self, name: str, path: str) -> Load:
        gateway = self.gateways[name]
        return Load(f"{gateway.services}/bench{path}", (("X-API-Key", gateway.key),))

    def gateway_loads(self, path: str) -> dict[str, Load]:
        return {name: self.gateway_load(name, path) for name in self.gateways}

    def baseline_loads(self, path: str) -> dict[str, Load]:
        return {
            BASELINE: Load(self.baseline + path, self.key_field),
            BASELINE_BARE: Load(f"{self.baseline}/bare{path}", self.key_field),
            GRANIAN: Load(self.granian + path, self.key_field),
            GRANIAN_BARE: Load(f"{self.granian}/bare{path}", self.key_field),
        }

    def cache_loads(self, path: str) -> dict[str, Load]:
        return {peer.cached: Load(peer.address + path, self.key_field) for peer in self.peers.values() if peer.cached}

    def proxy_loads(self, path: str) -> dict[str, Load]:
        return {peer.proxied: Load(peer.address + path, self.key_field) for peer in self.peers.values() if peer.proxied}


def all_cases(targets: Targets) -> list[Case]:
    """All cases, in the order of the report. A target that is not running has no load."""
    return [
        _hit(targets, "hit", "In-process hit, 1.8 kB", "/small", thresholds=True),
        _redis_hit(targets),
        _miss(targets, "miss", "Miss, proxied, 1.8 kB", "/miss/small", thresholds=True),
        _miss(targets, "miss-unlike", "Miss, proxied, differing fields", "/miss/unlike/small", thresholds=True),
        _store(targets),
        *_rejections(targets),
        _hit(targets, "hit-10k", "In-process hit, 10 kB", "/ten"),
        _miss(targets, "miss-10k", "Miss, proxied, 10 kB", "/miss/ten"),
        _hit(targets, "hit-1m", "In-process hit, 1 MB", "/large"),
        _miss(targets, "miss-1m", "Miss, proxied, 1 MB", "/miss/large"),
        _idle(targets),
        _mixed(targets),
    ]


def _hit(targets: Targets, name: str, title: str, path: str, *, thresholds: bool = False) -> Case:
    loads = targets.gateway_loads(path) | targets.baseline_loads(f"/hit{path}") | targets.cache_loads(path)
    required = {"nginx proxy_cache": Threshold(0.6), "express + Redis": Threshold(5), **BASELINE_THRESHOLDS}
    return Case(name, title, loads, thresholds=required if thresholds else {})


def _redis_hit(targets: Targets) -> Case:
    path = "/small?k="
    loads = {name: load for name, load in targets.gateway_loads(path).items() if name != GATEWAY}
    express = targets.peers.get("express")
    if express:
        loads[express.cached] = Load(express.address + path, targets.key_field)
    loads = {name: Load(load.url, load.headers, keys=KEYS) for name, load in loads.items()}
    title = f"Hit in Redis, {KEYS:,} entries of 1.8 kB in rotation"
    required = {"express + Redis": Threshold(1.5)}
    return Case("redis-hit", title, loads, subject=ON_REDIS, thresholds=required, in_rotation=True)


def _store(targets: Targets) -> Case:
    """Every URL is requested once, so each request is a lookup, a backend call and a store."""
    loads = targets.gateway_loads("/small?new=") | targets.cache_loads("/small?new=")
    loads = {name: Load(load.url, load.headers, keys=UNIQUE_KEYS) for name, load in loads.items()}
    return Case("store", "Miss, stored, 1.8 kB", loads)


def _miss(targets: Targets, name: str, title: str, path: str, *, thresholds: bool = False) -> Case:
    baseline = {BASELINE_PROXY: Load(targets.baseline + path, targets.key_field)}
    loads = targets.gateway_loads(path) | targets.proxy_loads(path) | baseline
    required = {
        "fastify http-proxy": Threshold(1),
        "express + axios": Threshold(4),
        "nginx proxy_pass": Threshold(0.35),
    }
    return Case(name, title, loads, thresholds=required if thresholds else {})


def rejection_loads(gateway: RunningGateway) -> dict[str, Load]:
    """Requests the gateway rejects itself, without calling the backend."""
    key = (("X-API-Key", gateway.key),)
    return {
        "open-circuit": Load(f"{gateway.services}/failing/fail", key, error_share=1),
        "401": Load(f"{gateway.services}/bench/small", (("X-API-Key", "no such key"),), error_share=1),
        "429": Load(f"{gateway.services}/limited/small", key, error_share=1),
    }


def _rejections(targets: Targets) -> list[Case]:
    titles = {"open-circuit": "Open circuit", "401": "401, unknown key", "429": "429, over the limit"}
    by_gateway = {target: rejection_loads(gateway) for target, gateway in targets.gateways.items()}
    cases = []
    for name, title in titles.items():
        baselines = {
            target: Load(load.url, load.headers, error_share=1)
            for target, load in targets.baseline_loads(f"/{name}").items()
        }
        gateways = {target: loads[name] for target, loads in by_gateway.items()}
        cases.append(Case(name, title, gateways | baselines, thresholds=BASELINE_THRESHOLDS))
    return cases


def _idle(targets: Targets) -> Case:
    alone = targets.gateway_load(GATEWAY, "/small")
    with_idle = Load(alone.url, alone.headers, idle=IDLE)
    subject = f"{GATEWAY}, {IDLE:,} idle"
    return Case("idle", f"Hit, with {IDLE:,} idle connections", {subject: with_idle, GATEWAY: alone}, subject=subject)


def _mixed(targets: Targets) -> Case:
    gateway = targets.gateways[GATEWAY]
    loads = {GATEWAY: Load(gateway.address, error_share=MIX_ERROR_SHARE, mix=mixed_requests(gateway))}
    baseline_mix = tuple(Request("GET", f"/{name}", targets.key_field) for name in MIX_PATHS)
    loads[BASELINE] = Load(targets.baseline, error_share=MIX_ERROR_SHARE, mix=baseline_mix)
    return Case("mixed", "Mix of 8 kinds of request", loads)


MIX_PATHS: Final = (
    "hit/small", "hit/ten", "not-modified", "hit/miss/small", "write", "open-circuit", "401", "429",
)  # fmt: skip
"""The baseline's path for each of `mixed_requests`."""


def mixed_requests(gateway: RunningGateway) -> tuple[Request, ...]:
    """Two hits, a 304, a miss, a POST, and three requests that are rejected."""
    key, services = (("X-API-Key", gateway.key),), "/api/v1"
    conditional = (*key, ("If-None-Match", "*"))
    return (
        Request("GET", f"{services}/bench/small", key),
        Request("GET", f"{services}/bench/ten", key),
        Request("GET", f"{services}/bench/small", conditional),
        Request("GET", f"{services}/bench/miss/small", key),
        Request("POST", f"{services}/bench/write", key, '{"name":"incidents"}'),
        Request("GET", f"{services}/failing/fail", key),
        Request("GET", f"{services}/bench/small", (("X-API-Key", "no such key"),)),
        Request("GET", f"{services}/limited/small", key),
    )


def select(cases: Sequence[Case], only: Sequence[str]) -> list[Case]:
    """The cases with these names, or all if there are none. Raises ValueError for an unknown name."""
    names = {case.name for case in cases}
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ValueError(f"unknown case {', '.join(unknown)}; the cases are {', '.join(case.name for case in cases)}")
    return [case for case in cases if not only or case.name in only]
