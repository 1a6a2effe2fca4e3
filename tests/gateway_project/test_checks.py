"""The checks of `/health/deep`."""

from gateway_project.checks import health_checks
from resilience.breaker.driver import Breakers
from resilience.breaker.redis import RedisStore
from resilience.redis import RedisLink
from routing.balancing.balancer import Balancers
from routing.observability.health import Health
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
