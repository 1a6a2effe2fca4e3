"""Steps 2 and 3: how long a verified caller is trusted, and towards whose limit a request counts."""

import pytest

from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.api_keys import ApiKeys, KeyRecord, generate_api_key
from routing.authentication.authenticator import Authenticator, Credential
from routing.caller import Caller
from routing.errors import RateLimited, Unauthenticated
from routing.exchange import Exchange
from routing.gateway_rules import GatewayRules
from routing.http import Request
from routing.router.live import LiveConfiguration
from routing.router.policy import RoutePolicy, Target
from routing.router.resolution import REVERIFY_SECONDS
from routing.router.resolution_cache import ResolutionCache
from routing.router.table import RouteTable, Service
from routing.steps.gatekeeper import Gatekeeper
from tests.clock import FakeClock

NOW = 1_000_000.0
MINTED = generate_api_key()


class CountingAuthenticator(Authenticator):
    """Counts its look-ups."""

    times = 0

    def try_identify(self, credential: Credential, now: float) -> Caller | None:
        self.times += 1
        return super().try_identify(credential, now)


class Tokens:
    """Verifies any token, and caches none."""

    def cached(self, token: str, now: float) -> Caller | None:
        return None

    async def verify(self, token: str, now: float) -> Caller:
        return Caller(f"firebase:{token}")


class Gate:
    """A gatekeeper in front of one service, and one key that expires at `expires`."""

    def __init__(self, *, expires: float | None = None, limit: int = 100) -> None:
        self.clock = FakeClock(NOW)
        record = KeyRecord(prefix=MINTED.prefix, digest=MINTED.digest, name="reports", expires=expires)
        table = RouteTable([Service("crm", (Target("http://127.0.0.1:9"),), policy=RoutePolicy())])
        live = LiveConfiguration(table, ApiKeys([record]))
        self.resolutions = ResolutionCache(live)
        self.authenticator = CountingAuthenticator(lambda: live.keys, Tokens())
        limiter = Limiter(MemoryStore(), clock=self.clock)
        rules = GatewayRules(rate=RatePolicy(limit), max_body_bytes=1_000)
        self.gatekeeper = Gatekeeper(rules, live, limiter, self.authenticator, timer=lambda: 0.0)

    async def admit(self, name: bytes = b"x-api-key", value: bytes = MINTED.key.encode()) -> Exchange:
        request = Request("GET", b"/api/v1/crm/x", b"", [(b"host", b"gateway.test"), (name, value)], "192.0.2.1")
        exchange = Exchange.begin(request, self.clock(), 0.0)
        exchange.resolution = self.resolutions.of(request)
        assert self.gatekeeper.limit(exchange) is None
        verifying = self.gatekeeper.identify(exchange)
        if verifying is not None:
            await verifying
        return exchange


async def test_a_verified_caller_is_trusted_for_a_second() -> None:
    """From the second request on, when its credential is memoised."""
    gate = Gate()
    for _ in range(10):
        assert (await gate.admit()).caller == Caller(f"key:{MINTED.prefix}")
    assert gate.authenticator.times == 2
    gate.clock.advance(REVERIFY_SECONDS)
    await gate.admit()
    assert gate.authenticator.times == 3


async def test_a_key_is_refused_from_the_moment_it_expires() -> None:
    gate = Gate(expires=NOW + 0.25)
    await gate.admit()
    gate.clock.advance(0.25)
    with pytest.raises(Unauthenticated):
        await gate.admit()


async def test_an_unverified_token_is_looked_up_each_time() -> None:
    gate = Gate()
    for _ in range(3):
        assert (await gate.admit(b"authorization", b"Bearer a.b.c")).caller == Caller("firebase:a.b.c")
    assert gate.authenticator.times == 3


async def test_a_verified_caller_is_charged_and_its_address_is_not() -> None:
    gate = Gate(limit=2)
    for _ in range(2):
        assert (await gate.admit()).quota.key == f"|2/60s|key:{MINTED.prefix}"
    with pytest.raises(RateLimited):
        await gate.admit()
    with pytest.raises(Unauthenticated):
        await gate.admit(value=b"junk")


async def test_junk_is_counted_by_address_whatever_it_looks_like() -> None:
    gate = Gate(limit=2)
    for number in range(2):
        with pytest.raises(Unauthenticated):
            await gate.admit(value=b"junk-%d" % number)
    with pytest.raises(RateLimited):
        await gate.admit(value=b"junk-3")


async def test_a_credential_seen_for_the_first_time_gives_the_address_its_token_back() -> None:
    gate = Gate(limit=1)
    for number in range(3):
        await gate.admit(b"authorization", b"Bearer a.b.%d" % number)
