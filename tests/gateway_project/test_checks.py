"""The checks of `/health/deep`."""

import asyncio
from types import SimpleNamespace

import pytest

from gateway_project.checks import health_checks
from resilience.breaker.driver import Breakers
from resilience.breaker.redis import RedisStore
from resilience.redis import RedisLink
from routing.authentication.key_endpoint import FetchedKeys, KeyFetchFailed
from routing.authentication.signing_keys import SigningKeys
from routing.balancing.balancer import Balancers
from routing.observability.health import Health, Unhealthy
from routing.router.live import LiveConfiguration
from routing.router.policy import Target
from routing.router.table import RouteTable, Service
from tests.redis_server import RedisServer
from tests.resilience.waiting import until

CRM = Service("crm", (Target("http://a"), Target("http://b")))


async def test_redis_and_circuits_are_degraded_during_an_outage_of_redis_and_recover(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    breakers = Breakers(RedisStore(link))
    breaker = breakers.of("crm", CRM.policy.breaker)
    checks = health_checks(link, LiveConfiguration(RouteTable([CRM])), breakers, Balancers())

    async def healths() -> list[Health]:
        return [await checks[name]() for name in ("redis", "circuits", "crm")]

    await link.start()
    await until(lambda: link.feed.alive)
    assert await healths() == [Health.OK] * 3
    own_redis.stop()
    await breakers.refresh()
    assert await healths() == [Health.DEGRADED, Health.DEGRADED, Health.OK]
    await breaker.override(breaker.state().FORCED_OPEN, reason="decided locally")
    own_redis.start()
    await until(lambda: not link.unavailable and link.feed.alive)
    await breakers.refresh()
    assert await healths() == [Health.OK, Health.OK, Health.OFF]
    await link.close()


async def test_stale_signing_keys_degrade_and_missing_ones_are_down() -> None:
    now, faults = [0.0], [True]

    def fetch() -> FetchedKeys:
        if faults[-1]:
            raise KeyFetchFailed("timeout")
        return FetchedKeys({"a": "A"}, {"a": 9_000.0}, 60.0)

    keys = SigningKeys(fetch, lambda: now[0], lambda _: None)
    links = LiveConfiguration(RouteTable([])), Breakers(RedisStore(RedisLink("unix:///nowhere"))), Balancers()
    check = health_checks(None, *links, SimpleNamespace(keys={"signing_keys": keys}))["signing_keys"]

    async def offer_token() -> None:
        wait = keys.prepare("a", now[0])
        assert wait is not None
        await asyncio.wrap_future(wait.fetch)

    assert await check() is Health.OK
    await offer_token()
    with pytest.raises(Unhealthy, match="cannot be fetched") as unhealthy:
        await check()
    assert unhealthy.value.status is Health.DOWN
    now[0], faults[-1] = 2.0, False
    await offer_token()
    assert await check() is Health.OK
    now[0], faults[-1] = 100.0, True
    await offer_token()
    with pytest.raises(Unhealthy, match="38 s past their max-age") as unhealthy:
        await check()
    assert unhealthy.value.status is Health.DEGRADED
    assert "signing_keys" not in health_checks(None, *links)


async def test_a_service_with_an_ejected_target_is_degraded_and_its_name_replaces_no_other_check() -> None:
    service = Service("redis", CRM.targets)
    targets, breakers = Balancers(), Breakers(RedisStore(RedisLink("unix:///nowhere")))
    checks = health_checks(None, LiveConfiguration(RouteTable([service])), breakers, targets)
    assert [await checks["redis"](), await checks["service redis"]()] == [Health.OFF, Health.OK]
    balancer = targets.of(service)
    for _ in range(3):
        picked = balancer.pick([])
        while picked.target != CRM.targets[0]:
            picked = balancer.pick([])
        balancer.failed(picked, "bad_gateway", no_response=True)
    assert await checks["service redis"]() is Health.DEGRADED
