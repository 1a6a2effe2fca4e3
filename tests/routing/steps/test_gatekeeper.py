"""Steps 2 and 3: how long a way's caller is believed, and whom a request counts for."""

import pytest

from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.api_keys import ApiKeys, KeyRecord, mint
from routing.authentication.authenticator import Authenticator, Credential
from routing.caller import Caller
from routing.errors import RateLimited, Unauthenticated
from routing.exchange import Exchange
from routing.http import Request
from routing.router.live import LiveConfiguration
from routing.router.policy import RoutePolicy, Target
from routing.router.resolution import REVERIFY_SECONDS, ResolutionCache
from routing.router.table import RouteTable, Service
from routing.steps.gatekeeper import Gatekeeper
from tests.clock import FakeClock

NOW = 1_000_000.0
MINTED = mint()


class CacheRequest(Authenticator):
    """Counts how often it is asked."""

    times = 0

    def known(self, credential: Credential, now: float) -> Caller | None:
        self.times += 1
        return super().known(credential, now)


class Tokens:
    """Verifies any token, and remembers none."""

    def remembered(self, token: str, now: float) -> Caller | None:
        return None

    async def verify(self, token: str, now: float) -> Caller:
        return Caller(f"firebase:{token}")


class Desk:
    """A gatekeeper before one service, and one key that ends at `expires`."""

    def __init__(self, *, expires: float | None = None, limit: int = 100) -> None:
        self.clock = FakeClock(NOW)
        record = KeyRecord(prefix=MINTED.prefix, digest=MINTED.digest, name="reports", expires=expires)
        table = RouteTable([Service("crm", (Target("http://127.0.0.1:9"),), policy=RoutePolicy())])
        live = LiveConfiguration(table, ApiKeys([record]))
        self.ways = ResolutionCache(live)
        self.authenticator = CacheRequest(lambda: live.keys, Tokens())
        limiter = Limiter(MemoryStore(), clock=self.clock)
        self.gatekeeper = Gatekeeper(limiter, self.authenticator, RatePolicy(limit), lambda: 0.0)

    async def pass_by(self, name: bytes = b"x-api-key", value: bytes = MINTED.key.encode()) -> Exchange:
        request = Request("GET", b"/api/v1/crm/x", b"", [(b"host", b"gateway.test"), (name, value)], "192.0.2.1")
        exchange = Exchange.begin(request, self.clock(), 0.0)
        exchange.resolution = self.ways.of(request)
        assert self.gatekeeper.try_limit(exchange)
        await self.gatekeeper.identify(exchange)
        return exchange


async def test_a_bearers_caller_is_believed_for_a_second() -> None:
    """Once it is remembered, which it is from the second time on."""
    desk = Desk()
    for _ in range(10):
        assert (await desk.pass_by()).caller == Caller(f"key:{MINTED.prefix}")
    assert desk.authenticator.times == 2
    desk.clock.advance(REVERIFY_SECONDS)
    await desk.pass_by()
    assert desk.authenticator.times == 3


async def test_a_key_ends_when_it_expires_and_not_a_moment_later() -> None:
    desk = Desk(expires=NOW + 0.25)
    await desk.pass_by()
    desk.clock.advance(0.25)
    with pytest.raises(Unauthenticated):
        await desk.pass_by()


async def test_a_token_nobody_knows_is_asked_about_each_time() -> None:
    desk = Desk()
    for _ in range(3):
        assert (await desk.pass_by(b"authorization", b"Bearer a.b.c")).caller == Caller("firebase:a.b.c")
    assert desk.authenticator.times == 3


async def test_who_is_known_pays_and_the_address_does_not() -> None:
    desk = Desk(limit=2)
    for _ in range(2):
        assert (await desk.pass_by()).rate_key == f"|2/60s|key:{MINTED.prefix}"
    with pytest.raises(RateLimited):
        await desk.pass_by()
    with pytest.raises(Unauthenticated):
        await desk.pass_by(value=b"junk")


async def test_junk_is_counted_by_address_whatever_it_looks_like() -> None:
    desk = Desk(limit=2)
    for number in range(2):
        with pytest.raises(Unauthenticated):
            await desk.pass_by(value=b"junk-%d" % number)
    with pytest.raises(RateLimited):
        await desk.pass_by(value=b"junk-3")


async def test_a_credential_seen_for_the_first_time_gives_the_address_its_token_back() -> None:
    desk = Desk(limit=1)
    for number in range(3):
        await desk.pass_by(b"authorization", b"Bearer a.b.%d" % number)
