"""No response crosses to a request to which the backend would have responded otherwise.

Random requests of many callers, tenants, hosts, schemes, contents, credentials and Connection lists, while the
configuration changes in one worker after the other. With the memory store of one worker, and with two workers over
Redis.

    IDENTITY_STEPS=100000 python -m pytest tests/gateway/test_any_identity.py

makes that many requests with each store, instead of those of a few seconds.
"""

import asyncio
import os
import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import ip_network
from typing import Final

import pytest

from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.tiers import TieredStore
from resilience.ratelimit.policy import RatePolicy
from resilience.redis import RedisLink
from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.authentication.authenticator import Authenticator
from routing.authentication.id_token import caller_from_claims
from routing.caller import Caller
from routing.gateway_rules import GatewayRules
from routing.router.policy import Auth, RoutePolicy, Target
from routing.router.table import RoutePattern, RouteTable, Service
from tests.clock import FakeClock
from tests.gateway.conftest import QUICK, World, make_world
from tests.http1_client import Client, Worker
from tests.origin import Peer, ScriptedOrigin
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import until

STEPS: Final = int(os.environ.get("IDENTITY_STEPS", "0"))
DEFAULT_SECONDS: Final = 4.0
FEWEST: Final = 200
"""Requests that are made however slow the machine is."""
RECENT: Final = 10

PROXY, STRANGER = "192.0.2.1", "198.51.100.7"
OWN_HOST = "crm.example.com"
HOSTS = ("gateway.test", "other.test", OWN_HOST)
CONTROLS = ("max-age=60", "", "public", "no-cache", "max-age=5,stale-while-revalidate=20", "no-store")
RULES = GatewayRules(
    rate=RatePolicy(1_000_000_000, 60),
    max_body_bytes=1_000,
    trusted_proxies=(ip_network(f"{PROXY}/32"),),
    allowed_hosts=("gateway.test", ".test"),
)


def user(tenant: str | None, uid: str = "ann") -> Caller:
    return caller_from_claims({"sub": uid, "exp": 1 << 40, "firebase": {"tenant": tenant}})


TOKENS = {"acme": user("acme"), "globex": user("globex"), "alone": user(None), "bob": user("acme", "bob")}
KEYS = {"acme-key": generate_api_key(), "key": generate_api_key()}
CREDENTIALS: dict[str, tuple[str, str]] = {
    "": ("", ""),
    **{name: ("authorization", f"Bearer {name}") for name in TOKENS},
    **{name: ("x-api-key", key.key) for name, key in KEYS.items()},
}
CALLERS: dict[str, Caller | None] = {
    "": None,
    **TOKENS,
    "acme-key": Caller(f"key:{KEYS['acme-key'].prefix}", "acme"),
    "key": Caller(f"key:{KEYS['key'].prefix}"),
}
TENANTS = {caller.id: caller.tenant or caller.id for caller in CALLERS.values() if caller}


class Tokens:
    """A verifier that knows the tokens of this test."""

    def cached(self, token: str, now: float) -> Caller | None:
        return TOKENS.get(token)

    async def verify(self, token: str, now: float) -> Caller:
        return TOKENS[token]


@dataclass(frozen=True)
class Configuration:
    """What changes between requests. `base` is the path of the target, so that each has responses of its own."""

    base: str = "/v1"
    header: str = "one"
    forwards: bool = False
    incarnation: int = 0
    weight: int = 1

    def table(self, url: str) -> RouteTable:
        def policy(auth: Auth, scope: Scope) -> RoutePolicy:
            return RoutePolicy(
                auth=auth,
                timeout=QUICK,
                headers=((b"x-config", self.header.encode()),),
                forward_authorization=self.forwards,
                # Without credentials of the backend's own, keys are memoised.
                cache=CachePolicy(scope=scope, credentials=None if scope is Scope.TENANT else ("X-Own",)),
            )

        routes = [
            RoutePattern("/user/{id}", (), policy(Auth.OPTIONAL, Scope.USER)),
            RoutePattern("/tenant/{id}", (), policy(Auth.OPTIONAL, Scope.TENANT)),
            RoutePattern("/shared/{id}", (), policy(Auth.NONE, Scope.SHARED)),
        ]
        target = Target(url + self.base, self.weight)
        service = Service("crm", (target,), (OWN_HOST,), policy(Auth.REQUIRED, Scope.USER), tuple(routes))
        return RouteTable([replace_incarnation(service, self.incarnation)])


def replace_incarnation(service: Service, incarnation: int) -> Service:
    return Service(service.name, service.targets, service.hosts, service.policy, service.routes, incarnation)


@dataclass
class Sent:
    """A random request: its bytes, and what the backend learns of it under each configuration."""

    caller: str
    kind: str
    number: int
    host: str
    peer: str
    proto: str
    control: str
    fields: list[tuple[str, str]]
    connection: list[str]
    content: str
    options: list[tuple[str, str]] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        prefix = "" if self.host == OWN_HOST else "/api/v1/crm"
        lines = [f"GET {prefix}{self.target} HTTP/1.1", f"host: {self.host}"]
        credential = CREDENTIALS[self.caller]
        fields = [credential] if credential[0] else []
        fields += [*self.fields, *self.options]
        if self.proto:
            fields.append(("x-forwarded-proto", self.proto))
        if self.content:
            fields.append(("content-length", str(len(self.content))))
        if self.connection:
            fields.append(("connection", ", ".join(self.connection)))
        lines += [f"{name}: {value}" for name, value in fields]
        return "\r\n".join([*lines, "", self.content]).encode()

    @property
    def target(self) -> str:
        return f"/{self.kind}/{self.number}?cc={self.control}"

    def expected(self, configuration: Configuration) -> str:
        """The response to this request but for its version."""
        received = {name: value for name, value in self.fields if name not in self.connection}
        received["x-config"] = configuration.header
        received["x-forwarded-host"] = self.host
        received["x-forwarded-proto"] = self.proto if self.proto and self.peer == PROXY else "http"
        caller, credential = CALLERS[self.caller], CREDENTIALS[self.caller]
        if caller is not None and self.kind != "shared":
            received["x-gateway-caller"] = caller.id
        if configuration.forwards and credential[0] == "authorization" and "authorization" not in self.connection:
            received["authorization"] = credential[1]
        cookie = received.get("cookie", "")
        if "sessionid" in cookie and self.host != OWN_HOST:
            received.pop("cookie")
        return describe(configuration.base + self.target, received, self.content)


def describe(target: str, received: dict[str, str], content: str) -> str:
    """What a response depends on: of callers that share it, only what they have in common."""
    kind = target.split("/")[2]
    names = ["x-config", "x-forwarded-host", "x-forwarded-proto", "x-own", "x-auth-token", "accept-language"]
    if kind == "tenant":
        names.remove("x-own")
    if kind != "shared":
        names += ["cookie", "authorization"]
    caller = received.get("x-gateway-caller", "-")
    owner = {"user": caller, "tenant": TENANTS.get(caller, "-"), "shared": ""}[kind]
    return "|".join([target, content, owner, *(received.get(name, "-") for name in names)])


class Origin:
    """Describes what it was told. `version` is raised by each write."""

    def __init__(self) -> None:
        self.version = 0

    async def __call__(self, peer: Peer) -> None:
        content = (await peer.read_body()).decode()
        method, target, _ = peer.request.line.decode().split(" ")
        if method == "POST":
            self.version += 1
            await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        received = {name.decode(): value.decode() for name, value in peer.request.fields}
        body = f"{describe(target, received, content)}#{self.version}".encode()
        etag = f'"{sha256(body).hexdigest()[:16]}"'
        control = target.partition("cc=")[2]
        head = f"ETag: {etag}\r\nVary: Accept-Language\r\n" + (f"Cache-Control: {control}\r\n" if control else "")
        if received.get("if-none-match") == etag:
            await peer.send(f"HTTP/1.1 304 Not Modified\r\n{head}\r\n".encode())
            return
        await asyncio.sleep(0)
        await peer.send(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


class Simulation:
    """`workers` share a store, and have a configuration each."""

    def __init__(self, worlds: list[World], origin: ScriptedOrigin, backend: Origin, seed: int) -> None:
        self.worlds = worlds
        self.servers = [Worker(world.gateway.answer) for world in worlds]
        self.origin = origin
        self.backend = backend
        self.random = random.Random(seed)
        self.configurations = [Configuration()] * len(worlds)
        self.floor = 0
        self.recent: deque[Sent] = deque(maxlen=RECENT)
        self.verdicts: Counter[str] = Counter()
        for index in range(len(worlds)):
            self.configure(index, Configuration())

    def configure(self, index: int, configuration: Configuration) -> None:
        self.configurations[index] = configuration
        self.worlds[index].live.table = configuration.table(self.origin.url)

    async def run(self) -> None:
        deadline = time.monotonic() + DEFAULT_SECONDS
        while self.made < (STEPS or FEWEST) or (not STEPS and time.monotonic() < deadline):
            await self.step()

    @property
    def made(self) -> int:
        return sum(self.verdicts.values())

    async def step(self) -> None:
        chance = self.random.random()
        if chance < 0.005:
            self.configure(self.random.randrange(len(self.worlds)), self.any_configuration())
        elif chance < 0.015:
            self.worlds[0].clock.advance(self.random.choice([1, 6, 30, 61, 400]))
        elif chance < 0.02:
            await self.write()
        sent = self.repeated_request()
        together = [self.sibling(sent) for _ in range(self.random.choice([0, 0, 0, 1, 3]))]
        await asyncio.gather(*[self.check(each) for each in [sent, *together]])

    def any_configuration(self) -> Configuration:
        pick = self.random.choice
        return Configuration(
            pick(["/v1", "/v2"]), pick(["one", "two"]), pick([False, True]), pick([0, 0, 1]), pick([1, 9])
        )

    def repeated_request(self) -> Sent:
        """Mostly one that was made before or a sibling of one, since the gateway remembers what is repeated."""
        if len(self.recent) == RECENT and self.random.random() < 0.9:
            sent = self.random.choice(self.recent)
            return self.sibling(sent) if self.random.random() < 0.3 else sent
        sent = self.any_request()
        self.recent.append(sent)
        return sent

    def any_request(self) -> Sent:
        pick = self.random.choice
        fields = [("accept-language", value)] if (value := pick(["", "fr", "de"])) else []
        if pick([False, False, True]):
            fields.append(("x-own", pick(["ann", "bob"])))
        if pick([False, False, True]):
            fields.append(("cookie", pick(["s=ann", "s=bob", "sessionid=staff"])))
        if self.random.random() < 0.05:
            fields.append(("x-auth-token", pick(["ann", "bob"])))
        listed = [name for name, _ in fields if self.random.random() < 0.1]
        if self.random.random() < 0.1:
            listed += ["authorization", "x-own"]
        return Sent(
            caller=pick(list(CREDENTIALS)),
            kind=pick(["user", "tenant", "shared"]),
            number=self.random.randrange(2),
            host=pick(HOSTS),
            peer=pick([PROXY, PROXY, STRANGER]),
            proto=pick(["", "https", "http"]),
            control=pick(CONTROLS),
            fields=fields,
            connection=["close", *listed] if listed else [],
            content=pick(["cats", "dogs"]) if self.random.random() < 0.05 else "",
            options=[("cache-control", pick(["no-cache", "max-age=3"]))] if self.random.random() < 0.05 else [],
        )

    def sibling(self, sent: Sent) -> Sent:
        """A request that differs in one thing at most, made at the same time."""
        other = self.any_request()
        name = self.random.choice(["caller", "host", "proto", "peer", "fields", "connection", "content", "options"])
        return replace(sent, **{name: getattr(other, name)})

    async def check(self, sent: Sent) -> None:
        index, floor = self.random.randrange(len(self.worlds)), self.floor
        configuration = self.configurations[index]
        status, verdict, body = await self.exchange(self.servers[index], sent)
        self.verdicts[verdict] += 1
        assert status == 200, (status, body, sent)
        text, _, version = body.partition("#")
        assert text == sent.expected(configuration), (verdict, sent, configuration)
        assert int(version) >= floor, (verdict, sent)

    async def exchange(self, server: Worker, sent: Sent) -> tuple[int, str, str]:
        client = Client(server, sent.peer)
        before = set(server.tasks)
        client.send(sent.data)
        while own := server.tasks - before:
            await asyncio.wait(own)
        head, _, body = client.received.partition(b"\r\n\r\n")
        client.disconnect()
        verdict = head.lower().partition(b"\r\nx-cache: ")[2].partition(b"\r\n")[0].decode()
        return int(head.split(b" ")[1]), verdict, body.decode()

    async def write(self) -> None:
        """A write to one resource, by one host and scheme, which ends its responses for all of them."""
        for kind in ("user", "tenant", "shared"):
            for number in range(2):
                for control in CONTROLS:
                    sent = replace(self.any_request(), kind=kind, number=number, control=control, content="", fields=[])
                    data = sent.data.replace(b"GET ", b"POST ", 1)
                    server = self.random.choice(self.servers)
                    client = Client(server, sent.peer)
                    client.send(data)
                    while server.tasks:
                        await asyncio.wait(set(server.tasks))
                    client.disconnect()
        await self.wait_for_invalidations()
        self.floor = self.backend.version

    async def wait_for_invalidations(self) -> None:
        stores = [store for world in self.worlds if isinstance(store := world.cache._store, TieredStore)]
        if stores:
            last = (await stores[0].invalidate("later")).seq
            await until(lambda: all(store._fences["later"].latest >= last for store in stores))


def prepared(world: World) -> World:
    world.live.keys = ApiKeys(
        [
            KeyRecord(prefix=key.prefix, digest=key.digest, name=name, tenant="acme" if name == "acme-key" else None)
            for name, key in KEYS.items()
        ]
    )
    world.gateway._gatekeeper._authenticator = Authenticator(lambda: world.live.keys, Tokens())
    return world


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_no_response_crosses(store: str, request: pytest.FixtureRequest) -> None:
    clock, backend = FakeClock(), Origin()
    links: list[RedisLink] = []
    if store == "redis":
        server: RedisServer = request.getfixturevalue("own_redis")
        links = [RedisLink(server.url) for _ in range(2)]
    stores: list[RedisLink | None] = [*links] or [None]
    worlds = [prepared(make_world("http1", RULES, link=link, clock=clock)) for link in stores]
    for link in links:
        await link.start()
    await until(lambda: all(link.feed.alive for link in links))
    async with ScriptedOrigin(backend) as origin:
        simulation = Simulation(worlds, origin, backend, seed=15)
        await simulation.run()
        for world in worlds:
            await world.close()
    for link in links:
        await link.close()
    assert simulation.verdicts["hit"] > simulation.made / 10, simulation.verdicts
    assert {"hit", "miss", "bypass", "revalidated", "stale"} >= simulation.verdicts.keys() >= {"hit", "miss", "bypass"}
