"""What holds for consumers: their plan's services, rates, quotas and concurrency, through every entry point."""

import asyncio
from typing import Any

import pytest

from resilience.ratelimit.policy import RatePolicy
from routing.authentication.api_keys import ApiKeys, KeyRecord, digest, generate_api_key
from routing.configuration.consumers import decode_limits, decode_plan
from routing.consumers.policy import NO_LIMITS
from routing.consumers.subscription import LimitedMember
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.router.policy import RoutePolicy
from tests.gateway.conftest import QUICK, World
from tests.gateway.test_nine_steps import ok
from tests.origin import Peer
from tests.resilience.cache.entries import until

PATH = "/api/v1/crm/contacts"
UNCACHED = RoutePolicy(timeout=QUICK, cache=None)


def limits(settings: dict[str, Any] | None) -> Any:
    return NO_LIMITS if settings is None else decode_limits(settings)


def subscribe(
    world: World,
    plan: dict[str, Any] | None = None,
    *,
    consumer: dict[str, Any] | None = None,
    team: dict[str, Any] | None = None,
    key: dict[str, Any] | None = None,
    enabled: bool = True,
    consumers: int = 1,
) -> list[str]:
    """Make consumers 1, 2, ... of one team and one plan, each with a key, and return the keys. `world.key` has none."""
    signed_up = world.clock()
    made = [generate_api_key() for _ in range(consumers)]
    data = ConsumerData(
        plans={"free": decode_plan("free", plan or {})},
        teams={9: LimitedMember(9, "acme", limits(team), signed_up, "free")},
        consumers={
            number: ConsumerRecord(number, f"c{number}", enabled, signed_up, 9, None, limits(consumer))
            for number in range(1, consumers + 1)
        },
    )
    records = [
        KeyRecord(
            prefix=one.prefix,
            digest=one.digest,
            name="k",
            scopes=frozenset({"*"}),
            consumer=number,
            limits=limits(key) if key else None,
            row=number,
        )
        for number, one in enumerate(made, 1)
    ]
    plain = KeyRecord(prefix="plainkey", digest=digest(world.key), name="plain", scopes=frozenset({"*"}))
    world.live.keys = ApiKeys([*records, plain], ConsumerTable(data))
    return [one.key for one in made]


async def statuses(world: World, number: int, key: str, method: str = "GET", path: str = PATH) -> list[int]:
    return [(await world.request(method, path, key=key)).status for _ in range(number)]


async def test_a_plan_restricts_services_and_methods(world: World) -> None:
    for name in ("crm", "mail", "billing"):
        await world.serve(ok(), name=name, policy=UNCACHED)
    (key,) = subscribe(world, {"services": ["crm", {"mail": {"methods": ["GET"]}}]})
    assert await statuses(world, 1, key, "POST") == [200]
    assert await statuses(world, 1, key, "GET", "/api/v1/mail/x") == [200]
    assert await statuses(world, 1, key, "HEAD", "/api/v1/mail/x") == [200]
    refused = await world.request("POST", "/api/v1/mail/x", key=key)
    assert (refused.status, refused.json()["code"]) == (403, "forbidden")
    assert refused.json()["detail"] == "the plan does not include this method of the service"
    refused = await world.request("GET", "/api/v1/billing/x", key=key)
    assert (refused.status, refused.json()["detail"]) == (403, "the plan does not include this service")
    listed = await world.request("GET", "/api/v1/", key=key)
    assert [service["name"] for service in listed.json()["services"]] == ["crm", "mail"]
    assert await statuses(world, 1, world.key, "GET", "/api/v1/billing/x") == [200]


async def test_a_rate_of_the_plan_replaces_the_gateways_own_limit(world: World) -> None:
    """Which is 1,000 a minute here, for callers without a rate."""
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(world, {"rate": "3/m"})
    assert await statuses(world, 5, key) == [200, 200, 200, 429, 429]
    refused = await world.request("GET", PATH, key=key)
    assert refused.json()["code"] == "rate_limited"
    assert refused.json()["detail"] == "over 3 requests in 60 s: the limit of the plan"
    assert refused.get("ratelimit-policy") == '"plan";q=3;w=60'
    (key,) = subscribe(world, {"rate": "1100/m"})
    assert (await world.request("GET", PATH, key=key)).get("ratelimit-policy") == '"plan";q=1100;w=60'
    assert (await world.request("GET", PATH)).get("ratelimit-policy") == '"default";q=1000;w=60'


async def test_a_services_own_limit_holds_too(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(timeout=QUICK, cache=None, rate_limit=RatePolicy(2, 60)))
    (key,) = subscribe(world, {"rate": "50/m"})
    assert await statuses(world, 3, key) == [200, 200, 429]


async def test_every_limit_holds_and_the_narrowest_comes_first(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(
        world,
        {"rate": "60/m", "burst": 20, "quota": [{"amount": 100, "per": "day"}]},
        consumer={"rate": "30/h"},
        team={"rate": "40/m", "quota": [{"amount": 10, "per": "month", "anchor": "signup"}]},
        key={"rate": "50/m"},
    )
    response = await world.request("GET", PATH, key=key)
    assert response.get("ratelimit-policy") == (
        '"team-month";q=10;w=2592000, "plan-burst";q=20;w=20, "consumer";q=30;w=3600, "team";q=40;w=60, '
        '"key";q=50;w=60, "plan";q=60;w=60, "plan-day";q=100;w=86400'
    )
    named = [item.split(";")[0] for item in (response.get("ratelimit") or "").split(", ")]
    assert named[0] == '"team-month"'
    assert await statuses(world, 10, key) == [200] * 9 + [429]
    refused = await world.request("GET", PATH, key=key)
    assert refused.json()["code"] == "quota_exceeded"
    assert refused.json()["detail"].startswith("the team's quota of 10 requests per month is used up until ")
    assert int(refused.get("retry-after") or 0) > 2_000_000
    assert refused.get(
        "ratelimit",
    ).startswith('"team-month";r=0;')  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rate", "amount", "code", "first"), [(3, 2, "quota_exceeded", "team-month"), (2, 3, "rate_limited", "consumer")]
)
async def test_a_refused_request_is_told_every_limit_too(
    world: World, rate: int, amount: int, code: str, first: str
) -> None:
    """Whichever refuses it, also those that were not asked: a client that waits for the first may meet the next."""
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(
        world,
        {"rate": "5/m", "quota": [{"amount": 100, "per": "day"}]},
        consumer={"rate": f"{rate}/h"},
        team={"quota": [{"amount": amount, "per": "month", "anchor": "signup"}]},
    )
    assert await statuses(world, 2, key) == [200, 200]
    refused = await world.request("GET", PATH, key=key)
    assert (refused.status, refused.json()["code"]) == (429, code)
    names = {"consumer": rate, "plan": 5, "plan-day": 100, "team-month": amount}
    policies = (refused.get("ratelimit-policy") or "").split(", ")
    assert {item.split('"')[1]: int(item.split("q=")[1].split(";")[0]) for item in policies} == names
    remaining = [item.split(";")[:2] for item in (refused.get("ratelimit") or "").split(", ")]
    assert {name.strip('"') for name, _ in remaining} == names.keys()
    assert [f'"{first}"', "r=0"] in remaining
    assert int(refused.get("retry-after") or 0) > 1


async def test_a_refusal_by_the_gateways_own_limit_tells_the_consumers_limits(world: World) -> None:
    await world.serve(ok(), policy=RoutePolicy(timeout=QUICK, cache=None, rate_limit=RatePolicy(1, 60)))
    (key,) = subscribe(world, {"rate": "7/m", "quota": [{"amount": 9, "per": "day"}]})
    assert await statuses(world, 1, key) == [200]
    refused = await world.request("GET", PATH, key=key)
    assert refused.json()["code"] == "rate_limited"
    assert refused.get("ratelimit-policy") == '"default";q=1;w=60, "plan";q=7;w=60, "plan-day";q=9;w=86400'
    listed = (refused.get("ratelimit") or "").split(", ")
    assert [item.rpartition(";")[0] for item in listed] == ['"default";r=0', '"plan";r=6', '"plan-day";r=8']


async def test_a_burst_limits_what_comes_at_once(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(world, {"rate": "60/m", "burst": 10})
    assert (await statuses(world, 15, key)).count(200) == 10
    world.clock.advance(5)
    assert (await statuses(world, 2, key)).count(200) == 0
    world.clock.advance(6)
    assert (await statuses(world, 15, key)).count(200) == 10


async def test_what_another_limit_refuses_is_not_counted_in_the_rate(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(world, {"rate": "60/m", "burst": 10, "quota": [{"amount": 25, "per": "day"}]})
    for granted in (10, 10, 5):
        assert (await statuses(world, 70, key)).count(200) == granted
        world.clock.advance(11)
    refused = await world.request("GET", PATH, key=key)
    assert refused.json()["code"] == "quota_exceeded"
    assert '"plan";r=35;' in (refused.get("ratelimit") or "")


async def test_consumers_of_a_plan_are_counted_apart_and_those_of_a_team_together(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    first, second = subscribe(
        world, {"quota": [{"amount": 5, "per": "day"}]}, team={"quota": [{"amount": 7, "per": "day"}]}, consumers=2
    )
    assert await statuses(world, 6, first) == [200] * 5 + [429]
    assert await statuses(world, 6, second) == [200] * 2 + [429] * 4
    assert world.observer.quotas == [
        ("consumer:1|plan|day", 80),
        ("consumer:1|plan|day", 100),
        ("team:9|team|day", 80),
        ("team:9|team|day", 100),
    ]


async def test_what_the_gateway_refuses_is_not_counted_as_used(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(world, {"services": ["crm"], "quota": [{"amount": 5, "per": "day"}]})
    assert await statuses(world, 3, key, "GET", "/api/v1/none/x") == [404] * 3
    assert await statuses(world, 6, key) == [200] * 5 + [429]


async def test_a_request_that_a_later_limit_refuses_is_given_back(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(
        world, {"quota": [{"amount": 10, "per": "month"}]}, team={"quota": [{"amount": 2, "per": "hour"}]}
    )
    assert await statuses(world, 6, key) == [200, 200, 429, 429, 429, 429]
    world.clock.advance(3_700)
    response = await world.request("GET", PATH, key=key)
    assert '"plan-month";r=7;' in (response.get("ratelimit") or "")


async def test_a_quota_begins_again_with_its_period(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(world, {"quota": [{"amount": 2, "per": "hour", "anchor": "signup"}]})
    assert await statuses(world, 3, key) == [200, 200, 429]
    world.clock.advance(3_599)
    assert await statuses(world, 1, key) == [429]
    world.clock.advance(1)
    assert await statuses(world, 3, key) == [200, 200, 429]


async def test_slots_are_freed_however_a_request_ends(world: World) -> None:
    gate = asyncio.Event()

    async def wait(peer: Peer) -> None:
        await gate.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    await world.serve(wait, policy=UNCACHED)
    (key,) = subscribe(world, {"concurrency": 2, "rate": "60/m", "quota": [{"amount": 99, "per": "day"}]})
    running = [asyncio.create_task(world.request("GET", PATH, key=key)) for _ in range(2)]
    await until(lambda: sum(world.gateway._plan_limits._slots._held.values()) == 2)  # type: ignore[union-attr] # there are plans
    refused = await world.request("GET", PATH, key=key)
    assert (refused.status, refused.json()["code"], refused.get("retry-after")) == (429, "rate_limited", "1")
    assert refused.json()["detail"] == "over 2 requests at once: the limit of the plan"
    assert refused.get("ratelimit-policy") == '"plan";q=60;w=60, "plan-day";q=99;w=86400'
    gate.set()
    assert [response.status for response in await asyncio.gather(*running)] == [200, 200]
    assert await statuses(world, 3, key) == [200] * 3
    assert await statuses(world, 3, key, "GET", "/api/v1/none/x") == [404] * 3
    assert not world.gateway._plan_limits._slots._held  # type: ignore[union-attr] # there are plans


async def test_a_failing_backend_frees_the_slot(world: World) -> None:
    async def reset(peer: Peer) -> None:
        await peer.send(b"nonsense\r\n\r\n")

    await world.serve(reset, policy=UNCACHED)
    (key,) = subscribe(world, {"concurrency": 1})
    assert set(await statuses(world, 3, key)) <= {502, 503}
    assert not world.gateway._plan_limits._slots._held  # type: ignore[union-attr] # there are plans


async def test_the_key_of_a_disabled_consumer_is_refused(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    (key,) = subscribe(world, {}, enabled=False)
    assert await statuses(world, 1, key) == [401]
    assert await statuses(world, 1, world.key) == [200]


async def test_without_consumers_no_step_is_taken(world: World) -> None:
    origin = await world.serve(ok(), policy=UNCACHED)
    assert await statuses(world, 1, world.key) == [200]
    match = world.live.table.match("crm", "GET", b"/contacts")
    assert "plan" not in [name for name, _ in world.gateway.steps(match, "GET")]
    subscribe(world, {})
    assert "plan" in [name for name, _ in world.gateway.steps(match, "GET")]
    assert len(origin.requests) == 1


async def test_a_plan_may_be_used_from_its_networks_only_and_refusals_count_towards_no_quota(world: World) -> None:
    await world.serve(ok(), policy=UNCACHED)
    plan = {"quota": [{"amount": 2, "per": "day"}], "ip": {"allow": ["10.0.0.0/8"]}}
    (key,) = subscribe(world, plan)
    refused = await world.request("GET", PATH, key=key)
    assert (refused.status, refused.json()["code"]) == (403, "address_not_allowed")
    assert refused.json()["detail"] == "the plan may not be used from this address"
    assert (await world.request("GET", "/api/v1/", key=key)).json()["code"] == "address_not_allowed"
    assert (await world.request("GET", PATH)).status == 200
    (key,) = subscribe(world, plan | {"ip": {"deny": ["10.0.0.0/8"]}})
    assert await statuses(world, 3, key) == [200, 200, 429]
