"""What is compared: one case is one kind of request, put to all contestants in turn, and what the gateway aims at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from benchmarks.compare.contestants import Peer
from benchmarks.figures import Aim
from benchmarks.floor import Recorded
from benchmarks.servers import Running
from benchmarks.wrk import Ask, Load

GATEWAY: Final = "gateway"
ON_REDIS: Final = "gateway on Redis"
TWO_ON_REDIS: Final = "gateway on Redis, 2 workers"
FLOOR: Final = "raw ASGI, the same fields"
BARE: Final = "raw ASGI, bare"
GRANIAN: Final = "raw ASGI on granian, the same fields"
BARE_GRANIAN: Final = "raw ASGI on granian, bare"
BARE_PROXY: Final = "raw ASGI proxy"
KEYS: Final = 40_000
"""For a hit in Redis: entries of more bytes than the memory of two workers has, asked for in a circle after as many
others, so that none is kept near before it is asked for again.
"""
ENDLESS: Final = 1_000_000_000
IDLE: Final = 1_000
OF_FLOORS: Final = dict.fromkeys((FLOOR, BARE, GRANIAN, BARE_GRANIAN), Aim(0.7))

Recording = Mapping[str, Recorded]


@dataclass(frozen=True, slots=True)
class Case:
    """`subject` is the contestant whose speed is told as a share of each other's; `aims` are the least shares.
    `is_circle`: what is asked for was asked for before, one after the other, and is in Redis.
    """

    name: str
    title: str
    loads: dict[str, Load]
    subject: str = GATEWAY
    aims: dict[str, Aim] = field(default_factory=dict)
    is_circle: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """Who runs: gateways by contestant's name and the ports of their Redis, the floors' addresses, peers by name."""

    gateways: Mapping[str, Running]
    floor: str
    granian: str
    peers: Mapping[str, Peer]
    redis: Mapping[str, int]

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Everybody is sent the same fields, those too who ask for no key."""
        return (("X-API-Key", self.gateways[GATEWAY].key),)

    def through(self, name: str, path: str) -> Load:
        gateway = self.gateways[name]
        return Load(f"{gateway.services}/bench{path}", (("X-API-Key", gateway.key),))

    def gateways_at(self, path: str) -> dict[str, Load]:
        return {name: self.through(name, path) for name in self.gateways}

    def floors(self, path: str) -> dict[str, Load]:
        return {
            FLOOR: Load(self.floor + path, self.key),
            BARE: Load(f"{self.floor}/bare{path}", self.key),
            GRANIAN: Load(self.granian + path, self.key),
            BARE_GRANIAN: Load(f"{self.granian}/bare{path}", self.key),
        }

    def caches(self, path: str) -> dict[str, Load]:
        return {peer.cached: Load(peer.address + path, self.key) for peer in self.peers.values() if peer.cached}

    def proxies(self, path: str) -> dict[str, Load]:
        return {peer.proxied: Load(peer.address + path, self.key) for peer in self.peers.values() if peer.proxied}


def all_cases(running: Field) -> list[Case]:
    """In the order of the issue's table. What is not there has no load."""
    return [
        _hit(running, "hit", "In-process hit, 1.8 kB", "/small", aims=True),
        _redis_hit(running),
        _miss(running, "miss", "Miss, proxied, 1.8 kB", "/miss/small", aims=True),
        _miss(running, "miss-unlike", "The same, no two answers with the same fields", "/miss/unlike/small", aims=True),
        _store(running),
        *_refusals(running),
        _hit(running, "hit-10k", "In-process hit, 10 kB", "/ten"),
        _miss(running, "miss-10k", "Miss, proxied, 10 kB", "/miss/ten"),
        _hit(running, "hit-1m", "In-process hit, 1 MB", "/large"),
        _miss(running, "miss-1m", "Miss, proxied, 1 MB", "/miss/large"),
        _idle(running),
        _mixed(running),
    ]


def _hit(running: Field, name: str, title: str, path: str, *, aims: bool = False) -> Case:
    loads = running.gateways_at(path) | running.floors(f"/hit{path}") | running.caches(path)
    wanted = {"nginx proxy_cache": Aim(0.6), "express + Redis": Aim(5), **OF_FLOORS}
    return Case(name, title, loads, aims=wanted if aims else {})


def _redis_hit(running: Field) -> Case:
    path = "/small?k="
    loads = {name: load for name, load in running.gateways_at(path).items() if name != GATEWAY}
    express = running.peers.get("express")
    if express:
        loads[express.cached] = Load(express.address + path, running.key)
    loads = {name: Load(load.url, load.headers, keys=KEYS) for name, load in loads.items()}
    title = f"Hit in Redis, {KEYS:,} entries of 1.8 kB in a circle"
    return Case("redis-hit", title, loads, subject=ON_REDIS, aims={"express + Redis": Aim(1.5)}, is_circle=True)


def _store(running: Field) -> Case:
    """Each address is asked for once, so each is looked up, fetched and kept."""
    loads = running.gateways_at("/small?new=") | running.caches("/small?new=")
    loads = {name: Load(load.url, load.headers, keys=ENDLESS) for name, load in loads.items()}
    return Case("store", "Miss, stored, 1.8 kB", loads)


def _miss(running: Field, name: str, title: str, path: str, *, aims: bool = False) -> Case:
    loads = running.gateways_at(path) | running.proxies(path) | {BARE_PROXY: Load(running.floor + path, running.key)}
    wanted = {"fastify http-proxy": Aim(1), "express + axios": Aim(4), "nginx proxy_pass": Aim(0.35)}
    return Case(name, title, loads, aims=wanted if aims else {})


def refused(gateway: Running) -> dict[str, Load]:
    """The gateway's own refusals: each answered without a backend."""
    key = (("X-API-Key", gateway.key),)
    return {
        "open-circuit": Load(f"{gateway.services}/failing/fail", key, refused=1),
        "401": Load(f"{gateway.services}/bench/small", (("X-API-Key", "no such key"),), refused=1),
        "429": Load(f"{gateway.services}/limited/small", key, refused=1),
    }


def _refusals(running: Field) -> list[Case]:
    titles = {"open-circuit": "Open circuit", "401": "401, a key nobody has", "429": "429, over the limit"}
    loads = {name: refused(gateway) for name, gateway in running.gateways.items()}
    cases = []
    for name, title in titles.items():
        floors = {who: Load(load.url, load.headers, refused=1) for who, load in running.floors(f"/{name}").items()}
        mine = {who: their[name] for who, their in loads.items()}
        cases.append(Case(name, title, mine | floors, aims=OF_FLOORS))
    return cases


def _idle(running: Field) -> Case:
    alone = running.through(GATEWAY, "/small")
    beside = Load(alone.url, alone.headers, idle=IDLE)
    return Case(
        "idle",
        f"Hit, beside {IDLE:,} idle connections",
        {f"{GATEWAY}, idle": beside, GATEWAY: alone},
        subject=f"{GATEWAY}, idle",
    )


def _mixed(running: Field) -> Case:
    gateway = running.gateways[GATEWAY]
    loads = {GATEWAY: Load(gateway.address, refused=3 / 8, asks=kinds(gateway))}
    floor = tuple(Ask("GET", f"/{name}", running.key) for name in FLOOR_KINDS)
    loads[FLOOR] = Load(running.floor, refused=3 / 8, asks=floor)
    return Case("mixed", "8 kinds of traffic at once", loads)


FLOOR_KINDS: Final = (
    "hit/small", "hit/ten", "not-modified", "hit/miss/small", "write", "open-circuit", "401", "429",
)  # fmt: skip


def kinds(gateway: Running) -> tuple[Ask, ...]:
    """Two hits, a 304, a miss, a write, and the three refusals."""
    key, services = (("X-API-Key", gateway.key),), "/api/v1"
    unchanged = (*key, ("If-None-Match", "*"))
    return (
        Ask("GET", f"{services}/bench/small", key),
        Ask("GET", f"{services}/bench/ten", key),
        Ask("GET", f"{services}/bench/small", unchanged),
        Ask("GET", f"{services}/bench/miss/small", key),
        Ask("POST", f"{services}/bench/write", key, '{"name":"incidents"}'),
        Ask("GET", f"{services}/failing/fail", key),
        Ask("GET", f"{services}/bench/small", (("X-API-Key", "no such key"),)),
        Ask("GET", f"{services}/limited/small", key),
    )


def chosen(cases: Sequence[Case], only: Sequence[str]) -> list[Case]:
    """Those named, or all. Raises ValueError for a name there is not."""
    names = {case.name for case in cases}
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ValueError(f"there is no case {', '.join(unknown)}; there are {', '.join(case.name for case in cases)}")
    return [case for case in cases if not only or case.name in only]
