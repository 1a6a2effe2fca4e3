"""The checks of `/health/deep`."""

import asyncio
from functools import partial
from types import SimpleNamespace

import msgspec
import pytest

from gateway_project.checks import health_checks
from metrics.counting.flusher import WORKERS
from metrics.infrastructure.redis import RedisStatus, read_status
from resilience.breaker.driver import Breakers
from resilience.breaker.redis import RedisStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from routing.authentication.key_endpoint import FetchedKeys, KeyFetchFailed
from routing.authentication.signing_keys import SigningKeys
from routing.balancing.balancer import Balancers
from routing.observability.health import Health, HealthPages, TargetsHealth, Unhealthy
from routing.router.live import LiveConfiguration
from routing.router.policy import Target
from routing.router.table import RouteTable, Service
from tests.redis_server import RedisServer
from tests.resilience.waiting import until

CRM = Service("crm", (Target("http://a"), Target("http://b")))


def status_of(found: Health | TargetsHealth) -> Health:
    return found.status if isinstance(found, TargetsHealth) else found


async def test_a_redis_that_refuses_scripts_is_degraded(own_redis: RedisServer) -> None:
    """It responds to PING, but nothing can be stored there."""
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "few", *["on", ">pw", "~gw:*", "&gw:*", "+@all", "-evalsha"])
    link = RedisLink(own_redis.url.replace("unix://", "unix://few:pw@"))
    check = health_checks(link, LiveConfiguration(RouteTable([])), Breakers(RedisStore(link)), Balancers())["redis"]
    await link.start()
    assert (await check(), await read_status(link)) == (Health.DEGRADED, RedisStatus())
    assert not link.unavailable
    await link.close()


async def test_redis_and_circuits_are_degraded_during_an_outage_of_redis_and_recover(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    breakers = Breakers(RedisStore(link))
    breaker = breakers.of("crm", CRM.policy.breaker)
    checks = health_checks(link, LiveConfiguration(RouteTable([CRM])), breakers, Balancers())

    async def healths() -> list[Health]:
        return [status_of(await checks[name]()) for name in ("redis", "circuits", "crm")]

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

    keys = SigningKeys(lambda _cause: fetch(), lambda: now[0], lambda _: None)
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
    make = partial(health_checks, None, LiveConfiguration(RouteTable([service])), breakers, targets)
    checks = make()
    assert await checks["redis"]() is Health.OFF
    assert await checks["service redis"]() == TargetsHealth(Health.OK, {"up": 2})
    balancer = targets.of(service)
    for _ in range(3):
        picked = balancer.pick([])
        while picked.target != CRM.targets[0]:
            picked = balancer.pick([])
        balancer.failed(picked, "bad_gateway", no_response=True)
    reason = "1 of 2 targets without calls: ejected"
    assert await make()["service redis"]() == TargetsHealth(Health.DEGRADED, {"ejected": 1, "up": 1}, reason)


async def test_what_other_workers_see_of_targets_is_read_once_and_shown_without_addresses() -> None:
    services = [
        Service(name, (Target("http://secret-host", canary=5.0), Target("http://b"))) for name in ("crm", "mail")
    ]
    breakers, asked = Breakers(RedisStore(RedisLink("unix:///nowhere"))), []

    async def gauges() -> dict[str, int]:
        asked.append(1)
        return {WORKERS: 4, "target|crm|ejected|http://secret-host": 1, "target|crm|slow_start|http://b": 4}

    live = LiveConfiguration(RouteTable(services))
    pages = HealthPages(partial(health_checks, None, live, breakers, Balancers(), gauges=gauges), lambda: True)
    response = await pages.response("/health/deep")
    assert response is not None
    assert isinstance(response.body, bytes)
    checks = msgspec.json.decode(response.body)["checks"]
    assert checks["crm"].pop("ms") >= 0
    assert checks["crm"] == {
        "status": "degraded",
        "targets": {"ejected": 1, "slow_start": 1, "canary": 1},
        "reason": "1 of 2 targets without calls: ejected in 1 of 4 workers",
    }
    assert checks["mail"]["targets"] == {"up": 2, "canary": 1}
    assert b"secret-host" not in response.body
    assert len(asked) == 1


async def test_without_the_other_workers_reports_a_worker_shows_its_own() -> None:
    async def unavailable() -> dict[str, int]:
        raise StoreUnavailable("no Redis")

    breakers = Breakers(RedisStore(RedisLink("unix:///nowhere")))
    live = LiveConfiguration(RouteTable([CRM]))
    check = health_checks(None, live, breakers, Balancers(), gauges=unavailable)["crm"]
    assert await check() == TargetsHealth(Health.OK, {"up": 2})
