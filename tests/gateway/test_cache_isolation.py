"""Properties of the cache under random requests, writes, failures and time: no caller gets another's response, no
invalidated response is returned, and nothing is stored that may not be. With the memory store of one worker, and with
both tiers of two workers over Redis."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from resilience.cache.policy import CachePolicy, Scope
from resilience.cache.tiers import TieredStore
from resilience.ratelimit.policy import RatePolicy
from resilience.redis import RedisLink
from routing.gateway_rules import GatewayRules
from routing.router.policy import RoutePolicy
from routing.router.table import RoutePattern
from tests.clock import FakeClock
from tests.gateway.conftest import QUICK, World, make_world
from tests.origin import Peer, ScriptedOrigin
from tests.redis_server import RedisServer
from tests.resilience.cache.entries import until

UNLIMITED = GatewayRules(rate=RatePolicy(1_000_000, 60), max_body_bytes=1_000)
PATHS = ("/mine/a", "/mine/b", "/ours/a")
CONTROLS = (
    "max-age=30",
    "max-age=30, must-revalidate",
    "max-age=5, stale-while-revalidate=20",
    "public, max-age=60",
    "no-cache",
    "no-store",
    "private",
    "max-age=0",
    "",
)
REQUEST_DIRECTIVES: tuple[dict[str, str], ...] = (
    {},
    {"Cache-Control": "no-cache"},
    {"Cache-Control": "max-stale"},
    {"Cache-Control": "max-age=3"},
    {"Range": "bytes=0-"},
)


class Origin:
    """Responds with the caller, path, Accept field, version of the data, and number of the call."""

    def __init__(self) -> None:
        self.version = 0
        self.calls = 0
        self.control = CONTROLS[0]
        self.failing = False
        self.unstorable: set[int] = set()

    async def __call__(self, peer: Peer) -> None:
        await peer.read_body()
        method, path, _ = peer.request.line.decode().split()
        if self.failing:
            await peer.send(b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n")
            return
        if method == "POST":
            self.version += 1
            await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            return
        await peer.send(self._response(dict(peer.request.fields), path))

    def _response(self, fields: dict[bytes, bytes], path: str) -> bytes:
        self.calls += 1
        etag = f'"{self.version}"'.encode()
        head = f"ETag: {etag.decode()}\r\nCache-Control: {self.control}\r\nVary: Accept\r\nCache-Tag: all\r\n"
        if fields.get(b"if-none-match") == etag:
            return f"HTTP/1.1 304 Not Modified\r\n{head}\r\n".encode()
        if self.control in ("no-store", "private"):
            self.unstorable.add(self.calls)
        caller = fields[b"x-gateway-caller"].decode() if path.startswith("/mine") else "all"
        body = f"{caller}|{path}|{fields.get(b'accept', b'').decode()}|{self.version}|{self.calls}"
        return f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class CallersOfOneWorker(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.floor = dict.fromkeys(PATHS, 0)
        self.origin = Origin()
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        first, *others = self.worlds = await self.open()
        shared = CachePolicy(scope=Scope.SHARED, tags=("ours",))
        self.server: ScriptedOrigin = await first.serve(
            self.origin,
            routes=(RoutePattern("/ours/*", (), RoutePolicy(timeout=QUICK, cache=shared)),),
            policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(tags=("mine",))),
        )
        for world in others:
            world.live.keys, world.live.table = first.live.keys, first.live.table
        self.keys = {key.split("_")[1]: key for key in (first.key, first.other_key)}
        self.turn = 0

    async def open(self) -> list[World]:
        return [make_world("asgi", UNLIMITED)]

    async def wait_for_invalidations(self) -> None:
        """Wait until every worker has processed the invalidations so far."""

    async def close(self) -> None:
        for world in self.worlds:
            await world.close()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.close())
            self.runner.close()

    @property
    def world(self) -> World:
        """Each worker in turn."""
        self.turn += 1
        return self.worlds[self.turn % len(self.worlds)]

    @rule(
        path=st.sampled_from(PATHS),
        caller=st.integers(0, 1),
        accept=st.sampled_from(["a", "b"]),
        directives=st.sampled_from(REQUEST_DIRECTIVES),
        control=st.sampled_from(CONTROLS),
    )
    def request_once(self, path: str, caller: int, accept: str, directives: dict[str, str], control: str) -> None:
        self.origin.control = control
        self.runner.run(self._check_request(path, sorted(self.keys)[caller], accept, directives))

    @rule(path=st.sampled_from(PATHS), accept=st.sampled_from(["a", "b"]), control=st.sampled_from(CONTROLS))
    def request_before_and_after_a_write(self, path: str, accept: str, control: str) -> None:
        self.origin.control = control
        self.request_together(path, accept)
        self.request_together(path, accept)
        self.write(path)
        self.request_together(path, accept)

    def request_together(self, path: str, accept: str) -> None:
        async def together() -> None:
            await asyncio.gather(
                *[self._check_request(path, prefix, accept, {}) for prefix in self.keys for _ in range(3)]
            )

        self.runner.run(together())

    async def _check_request(self, path: str, prefix: str, accept: str, directives: dict[str, str]) -> None:
        floor = self.floor[path]
        response: Any = await self.world.request(
            "GET", "/api/v1/crm" + path, [("Accept", accept), *directives.items()], key=self.keys[prefix]
        )
        if response.status not in (200, 206):
            assert response.status == 503
            return
        owner, requested_path, accepted, version, call = response.body.decode().split("|")
        assert owner == (f"key:{prefix}" if path.startswith("/mine") else "all")
        assert (requested_path, accepted) == (path, accept)
        assert int(version) >= floor
        if response.get("x-cache") != "MISS":
            assert int(call) not in self.origin.unstorable

    @property
    def any_key(self) -> str:
        return next(iter(self.keys.values()))

    @rule(path=st.sampled_from(PATHS))
    def write(self, path: str) -> None:
        response: Any = self.runner.run(self.world.request("POST", "/api/v1/crm" + path, body=[b"1"], key=self.any_key))
        self.runner.run(self.wait_for_invalidations())
        if response.status == 204:
            self.floor[path] = self.origin.version

    @rule(tag=st.sampled_from(["mine", "ours", "all", None]))
    def invalidate_tag(self, tag: str | None) -> None:
        self.origin.version += 1
        self.runner.run(self.world.cache.invalidate("crm", None if tag is None else [tag]))
        self.runner.run(self.wait_for_invalidations())
        for path in PATHS:
            if tag in (None, "all") or path.startswith(f"/{tag}"):
                self.floor[path] = self.origin.version

    @rule(failing=st.sampled_from([False, False, True]))
    def fail(self, failing: bool) -> None:
        self.origin.failing = failing

    @rule(seconds=st.sampled_from([1, 6, 31, 61, 400, 5_000]))
    def wait(self, seconds: float) -> None:
        self.worlds[0].clock.advance(seconds)


QUIET = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
CallersOfOneWorker.TestCase.settings = settings(QUIET, max_examples=60, stateful_step_count=30)
TestCallersOfOneWorker = CallersOfOneWorker.TestCase


class CallersOfTwoWorkers(CallersOfOneWorker):
    """The same with two workers, which share stored responses, invalidations and leases."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.redis = server

    async def open(self) -> list[World]:
        self.redis.flush()
        clock = FakeClock()
        self.links = [RedisLink(self.redis.url) for _ in range(2)]
        worlds = [make_world("asgi", UNLIMITED, link=link, clock=clock) for link in self.links]
        for link in self.links:
            await link.start()
        await until(lambda: all(link.feed.alive for link in self.links))
        return worlds

    async def wait_for_invalidations(self) -> None:
        """Wait for a later invalidation, as the feed keeps their order, or for a new epoch after a disconnect."""
        stores = [store for world in self.worlds if isinstance(store := world.cache._store, TieredStore)]
        epochs = [store._epoch for store in stores]
        invalidation = await stores[0].invalidate("later")

        def is_received() -> bool:
            return all(
                store._fences["later"].latest >= invalidation.seq or store._epoch != epoch
                for store, epoch in zip(stores, epochs, strict=True)
            )

        await until(is_received)

    @rule()
    def disconnect_the_feed(self) -> None:
        with self.redis.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    @rule()
    def wait_for_the_feed(self) -> None:
        self.runner.run(until(lambda: all(link.feed.alive for link in self.links)))

    async def close(self) -> None:
        await super().close()
        for link in self.links:
            await link.close()


def test_callers_of_two_workers_over_redis(shared_redis: RedisServer) -> None:
    overrides = settings(QUIET, max_examples=60, stateful_step_count=20, phases=[Phase.generate])
    run_state_machine_as_test(lambda: CallersOfTwoWorkers(shared_redis), settings=overrides)  # type: ignore[arg-type]
