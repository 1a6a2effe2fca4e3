"""The cache against a model of its rules, under random requests, responses, failures, writes and time: each response is
the one that the model expects, from the store or from the backend.
"""

import asyncio
from dataclasses import replace
from typing import NamedTuple

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.gateway_rules import GatewayRules
from routing.router.policy import Retries, RoutePolicy
from routing.router.table import RoutePattern
from routing.steps.cache.coalescing import Coalescing
from tests.gateway.cache_model import OF_ONE_REQUEST, Key, Model, Reply, Stored, directives, stands_in, to_store, use
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import ReceivedResponse
from tests.origin import Peer

UNLIMITED = GatewayRules(rate=RatePolicy(1_000_000, 60), max_body_bytes=1_000)
REFRESH = 20
PATHS = ("/mine", "/ours/a")
ANY = Reply(200, "", has_etag=True, varies=False, sets_cookie=False)


class Call(NamedTuple):
    """A response of the backend, and whether the request had a condition."""

    status: int
    body: bytes
    is_conditional: bool


class Get(NamedTuple):
    """A GET, or a HEAD, by one of two callers."""

    method: str
    path: str
    caller: int
    language: str
    control: str
    reply: Reply


class Write(NamedTuple):
    path: str


class Wait(NamedTuple):
    seconds: int


class Checked:
    """A gateway, its backend, and the model."""

    def __init__(self, world: World, coalescing: Coalescing) -> None:
        self.world, self.coalescing, self.model = world, coalescing, Model()
        self.version = dict.fromkeys(PATHS, 0)
        self.calls = list[Call]()
        self.reply = ANY

    async def backend(self, peer: Peer) -> None:
        await peer.read_body()
        method, path, _ = peer.request.line.decode().split()
        if method == "PUT":
            self.version[path] += 1
            await peer.send(b"HTTP/1.1 204 Written\r\n\r\n")
            return
        reply, etag, body = self.reply, f'"{self.version[path]}"', b"." * (len(self.calls) + 1)  # of its own length
        head = f"Cache-Control: {reply.control}\r\n" + f"ETag: {etag}\r\n" * reply.has_etag
        head += "Vary: Accept-Language\r\n" * reply.varies + "Set-Cookie: a=1\r\n" * reply.sets_cookie
        condition = dict(peer.request.fields).get(b"if-none-match")
        is_known = condition == etag.encode()
        status = 304 if reply.status == 200 and reply.has_etag and is_known else reply.status
        self.calls.append(Call(status, body, condition is not None))
        length = "" if status == 304 else f"Content-Length: {len(body)}\r\n"
        content = b"" if status == 304 or method == "HEAD" else body
        await peer.send(f"HTTP/1.1 {status} X\r\n{head}{length}\r\n".encode() + content)

    async def take(self, step: Get | Write | Wait) -> None:
        if isinstance(step, Wait):
            self.world.clock.advance(step.seconds)
        elif isinstance(step, Write):
            assert (await self.world.request("PUT", "/api/v1/crm" + step.path, body=[b"1"])).status == 204
            self.model.end(step.path)
        else:
            await self.check(step)

    async def check(self, step: Get) -> None:
        now, self.reply, before = self.world.clock(), step.reply, len(self.calls)
        key = key_of(step)
        stored = self.model.find(key, step.language, now)
        expected = use(stored, directives(step.control), now)
        response = await self.request(step)
        calls = self.calls[before:]
        if stored is None or not expected:
            (call,) = calls
            self.check_forwarded(step, response, stored, call, now)
            return
        self.check_body(step, response, stored, expected)
        assert len(calls) <= (expected == "STALE")
        refresh = step._replace(method="GET", control="")
        if calls and not stands_in(stored, refresh.control, calls[0].status, now):
            self.learn(key, refresh, stored, calls[0], now)

    async def request(self, step: Get) -> ReceivedResponse:
        """The response, once a refresh in the background has ended."""
        fields = [("Accept-Language", step.language), *([("Cache-Control", step.control)] if step.control else [])]
        key = (self.world.key, self.world.other_key)[step.caller]
        response = await self.world.request(step.method, "/api/v1/crm" + step.path, fields, key=key)
        await self.coalescing._refreshing.wait()
        return response

    def check_forwarded(
        self, step: Get, response: ReceivedResponse, stored: Stored | None, call: Call, now: float
    ) -> None:
        kept = None if "no-store" in directives(step.control) else stored
        assert call.is_conditional == (kept is not None and kept.can_be_validated)
        if kept and stands_in(kept, step.control, call.status, now):
            self.check_body(step, response, kept, "STALE")
            return
        if kept and call.status == 304:
            self.check_body(step, response, kept, "REVALIDATED")
        else:
            assert (response.get("x-cache"), response.status) == ("MISS", call.status)
            assert response.body == (b"" if step.method == "HEAD" else call.body)
        if "no-store" not in directives(step.control):
            self.learn(key_of(step), step, kept, call, now)

    @staticmethod
    def check_body(step: Get, response: ReceivedResponse, stored: Stored, x_cache: str) -> None:
        assert (response.get("x-cache"), response.status) == (x_cache, stored.reply.status)
        assert response.body == (b"" if step.method == "HEAD" else stored.body)

    def learn(self, key: Key, step: Get, kept: Stored | None, call: Call, now: float) -> None:
        """What the backend's response changes."""
        if kept and call.status == 304:
            self.confirm(key, step, kept, now)
        elif step.method == "GET":
            self.replace(key, step, kept, call, now)
        elif kept and call.status == 200:
            self.model.end(key[1])  # its content has another length

    def confirm(self, key: Key, step: Get, kept: Stored, now: float) -> None:
        confirmed = to_store(step.reply, kept.body, step.language, now, refresh_of(key))
        without_cookie = step.reply._replace(sets_cookie=False)
        if confirmed is not None:
            self.model.put(key, confirmed, now)
        elif to_store(without_cookie, kept.body, step.language, now, refresh_of(key)) is None:
            self.supersede(key, kept, step.language, now)

    def replace(self, key: Key, step: Get, kept: Stored | None, call: Call, now: float) -> None:
        new = to_store(step.reply, call.body, step.language, now, refresh_of(key))
        is_about_caller = key[0] is None and step.reply.sets_cookie
        if new is not None:
            self.model.put(key, new, now)
        elif kept and call.status < 500 and call.status not in OF_ONE_REQUEST and not is_about_caller:
            self.supersede(key, kept, step.language, now)

    def supersede(self, key: Key, kept: Stored, language: str, now: float) -> None:
        """Only validated from now on."""
        ended = replace(kept, language=language, fresh_until=0, refresh_until=0, error_until=0, is_strict=True)
        self.model.put(key, ended, now)


def key_of(step: Get) -> Key:
    return None if step.path.startswith("/ours") else step.caller, step.path


def refresh_of(key: Key) -> float:
    """The route's stale_while_revalidate."""
    return REFRESH if key[0] is None else 0


CONTROLS = (
    "",
    "max-age=0",
    "max-age=5",
    "max-age=30, must-revalidate",
    "s-maxage=20, max-age=5",
    "no-cache",
    "no-store",
    "private",
    "max-age=5, stale-while-revalidate=20",
    "max-age=0, stale-while-revalidate=30",
    "max-age=5, stale-if-error=0",
)
REQUEST_CONTROLS = ("", "", "", "", "", "no-cache", "no-store", "max-age=3", "max-stale", "max-stale=10", "min-fresh=7")
REPLIES = st.builds(
    Reply,
    status=st.sampled_from([200] * 12 + [301, 404, 429, 503, 503]),
    control=st.sampled_from(CONTROLS),
    has_etag=st.booleans(),
    varies=st.booleans(),
    sets_cookie=st.sampled_from([False] * 9 + [True]),
)
GETS = st.builds(
    Get,
    method=st.sampled_from(["GET"] * 6 + ["HEAD"]),
    path=st.sampled_from(PATHS),
    caller=st.sampled_from([0, 0, 0, 1]),
    language=st.sampled_from(["de", "de", "de", "en"]),
    control=st.sampled_from(REQUEST_CONTROLS),
    reply=REPLIES,
)
STEPS = st.one_of(
    GETS, GETS, GETS, st.builds(Write, st.sampled_from(PATHS)), st.builds(Wait, st.sampled_from([1, 2, 3, 6, 21, 400]))
)


async def run(steps: list[Get | Write | Wait]) -> None:
    world = make_world("http1", UNLIMITED)
    try:
        checked = Checked(world, world.gateway._cache_steps.coalescing)
        never_open = BreakerPolicy(failure_threshold=1_000)
        mine = RoutePolicy(timeout=QUICK, retries=Retries(attempts=1), breaker=never_open, cache=CachePolicy())
        shared = CachePolicy(scope=Scope.SHARED, stale_while_revalidate=REFRESH)
        ours = RoutePattern("/ours/*", (), msgspec.structs.replace(mine, cache=shared))
        await world.serve(checked.backend, policy=mine, routes=(ours,))
        for step in steps:
            await checked.take(step)
    finally:
        await world.close()


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=25, max_size=40))
def test_each_response_is_the_one_that_the_model_expects(steps: list[Get | Write | Wait]) -> None:
    asyncio.run(run(steps))
