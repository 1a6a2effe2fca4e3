"""Whatever callers, changes, failures and time come to: no caller gets another's answer, nothing taken back is
given out again, nothing that may not be stored is stored."""

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.pipeline import GatewayRules
from routing.policy import RoutePolicy
from routing.table import Route
from tests.gateway.conftest import QUICK, World, make_world
from tests.origin import Peer, ScriptedOrigin

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
WISHES: tuple[dict[str, str], ...] = (
    {},
    {"Cache-Control": "no-cache"},
    {"Cache-Control": "max-stale"},
    {"Cache-Control": "max-age=3"},
    {"Range": "bytes=0-"},
)


class Origin:
    """Answers with who asked, for what, in which version of the world, and in which call."""

    def __init__(self) -> None:
        self.version = 0
        self.calls = 0
        self.control = CONTROLS[0]
        self.failing = False
        self.unkept: set[int] = set()

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
        await peer.send(self._answer(dict(peer.request.fields), path))

    def _answer(self, fields: dict[bytes, bytes], path: str) -> bytes:
        self.calls += 1
        etag = f'"{self.version}"'.encode()
        head = f"ETag: {etag.decode()}\r\nCache-Control: {self.control}\r\nVary: Accept\r\nCache-Tag: all\r\n"
        if fields.get(b"if-none-match") == etag:
            return f"HTTP/1.1 304 Not Modified\r\n{head}\r\n".encode()
        if self.control in ("no-store", "private"):
            self.unkept.add(self.calls)
        caller = fields[b"x-gateway-caller"].decode() if path.startswith("/mine") else "all"
        body = f"{caller}|{path}|{fields.get(b'accept', b'').decode()}|{self.version}|{self.calls}"
        return f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


class Callers(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.floor = dict.fromkeys(PATHS, 0)
        self.origin = Origin()
        self.given: set[int] = set()
        self.runner.run(self._begin())

    async def _begin(self) -> None:
        self.world: World = make_world("asgi", GatewayRules(rate=RatePolicy(1_000_000, 60), max_body_bytes=1_000))
        shared = CachePolicy(scope=Scope.SHARED, tags=("ours",))
        self.server: ScriptedOrigin = await self.world.serve(
            self.origin,
            routes=(Route("/ours/*", (), RoutePolicy(timeout=QUICK, cache=shared)),),
            policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(tags=("mine",))),
        )
        self.keys = {key.split("_")[1]: key for key in (self.world.key, self.world.other_key)}

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.world.close())
            self.runner.close()

    @rule(
        path=st.sampled_from(PATHS),
        caller=st.integers(0, 1),
        accept=st.sampled_from(["a", "b"]),
        wish=st.sampled_from(WISHES),
        control=st.sampled_from(CONTROLS),
    )
    def ask(self, path: str, caller: int, accept: str, wish: dict[str, str], control: str) -> None:
        self.origin.control = control
        self.runner.run(self._ask(path, sorted(self.keys)[caller], accept, wish))

    @rule(path=st.sampled_from(PATHS), accept=st.sampled_from(["a", "b"]), control=st.sampled_from(CONTROLS))
    def ask_before_and_after_a_change(self, path: str, accept: str, control: str) -> None:
        self.origin.control = control
        self.ask_together(path, accept)
        self.ask_together(path, accept)
        self.write(path)
        self.ask_together(path, accept)

    def ask_together(self, path: str, accept: str) -> None:
        async def together() -> None:
            await asyncio.gather(*[self._ask(path, prefix, accept, {}) for prefix in self.keys for _ in range(3)])

        self.runner.run(together())

    async def _ask(self, path: str, prefix: str, accept: str, wish: dict[str, str]) -> None:
        floor = self.floor[path]
        answer: Any = await self.world.ask(
            "GET", "/api/v1/crm" + path, [("Accept", accept), *wish.items()], key=self.keys[prefix]
        )
        if answer.status not in (200, 206):
            assert answer.status == 503
            return
        whose, what, chosen, version, call = answer.body.decode().split("|")
        assert whose == (f"key:{prefix}" if path.startswith("/mine") else "all")
        assert (what, chosen) == (path, accept)
        assert int(version) >= floor
        if answer.get("x-cache") != "MISS":
            assert int(call) not in self.origin.unkept

    @rule(path=st.sampled_from(PATHS))
    def write(self, path: str) -> None:
        answer: Any = self.runner.run(self.world.ask("POST", "/api/v1/crm" + path, body=[b"1"]))
        if answer.status == 204:
            self.floor[path] = self.origin.version

    @rule(tag=st.sampled_from(["mine", "ours", "all", None]))
    def take_back(self, tag: str | None) -> None:
        self.origin.version += 1
        self.runner.run(self.world.cache.invalidate("crm", None if tag is None else [tag]))
        for path in PATHS:
            if tag in (None, "all") or path.startswith(f"/{tag}"):
                self.floor[path] = self.origin.version

    @rule(failing=st.sampled_from([False, False, True]))
    def fail(self, failing: bool) -> None:
        self.origin.failing = failing

    @rule(seconds=st.sampled_from([1, 6, 31, 61, 400, 5_000]))
    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)


Callers.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestCallers = Callers.TestCase
