"""Countries in the lists of services, routes, plans and keys, and what Explain and the debug fields say of them."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from resilience.breaker.machine import Snapshot
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.api_keys import ApiKeys, KeyRecord, digest
from routing.authentication.key_rules import KeyRules
from routing.configuration.decode import decode
from routing.configuration.faults import ConfigurationError
from routing.configuration.networks import networks
from routing.consumers.policy import Plan
from routing.consumers.table import ConsumerData, ConsumerRecord, ConsumerTable
from routing.explain.explainer import Explainer
from routing.http import Request
from routing.router.policy import RoutePolicy
from routing.router.table import RoutePattern
from tests.countries import known_countries
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.test_nine_steps import ok

GERMAN, FRENCH, UNKNOWN = "192.0.2.7", "198.51.100.7", "203.0.113.7"
PATH = "/api/v1/crm/x"


@pytest.fixture(autouse=True)
def database() -> Iterator[list[str]]:
    with known_countries({"192.0.2.0/24": "DE", "198.51.100.0/24": "FR"}) as asked:
        yield asked


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = make_world("asgi")
    yield made
    await made.close()


def policy(**lists: list[str]) -> RoutePolicy:
    return RoutePolicy(timeout=QUICK, cache=None, ip=networks(lists))


async def statuses(world: World, path: str = PATH) -> list[int]:
    return [(await world.request("GET", path, client=client)).status for client in (GERMAN, FRENCH, UNKNOWN)]


async def test_a_service_and_a_route(world: World) -> None:
    routes = (RoutePattern("/fr/*", (), policy(allow=["country:FR"])),)
    await world.serve(ok(), policy=policy(allow=["country:DE"]), routes=routes)
    assert await statuses(world) == [200, 403, 403]
    assert await statuses(world, "/api/v1/crm/fr/x") == [403, 200, 403]


async def test_a_list_of_denied_countries_lets_unknown_addresses_in(world: World) -> None:
    await world.serve(ok(), policy=policy(deny=["country:FR"]))
    assert await statuses(world) == [200, 403, 200]


async def test_a_plan_and_a_key(world: World) -> None:
    await world.serve(ok(), policy=policy())
    record = KeyRecord(prefix="ours", digest=digest(world.key), name="ours", scopes=frozenset({"*"}), consumer=1)
    plan = Plan(name="home", ip=networks({"allow": ["country:DE", "country:FR"]}))
    consumers = ConsumerTable(ConsumerData({"home": plan}, {}, {1: ConsumerRecord(1, "acme", True, 0.0, plan="home")}))
    world.live.keys = ApiKeys([record], consumers)
    assert await statuses(world) == [200, 200, 403]
    rules = KeyRules(networks({"deny": ["country:FR"]}))
    world.live.keys = ApiKeys([msgspec.structs.replace(record, rules=rules)], consumers)
    assert await statuses(world) == [200, 403, 403]


async def test_the_debug_fields_say_which_country(world: World) -> None:
    await world.serve(ok(), policy=policy(allow=["country:DE"]))
    await world.serve(ok(), policy=policy(allow=["192.0.2.0/24"]), name="plain")
    debug = [("X-Gateway-Debug", "1")]
    allowed = await world.request("GET", PATH, debug, client=GERMAN)
    assert 'desc="country DE"' in str(allowed.headers)
    refused = await world.request("GET", PATH, debug, client=UNKNOWN)
    assert refused.status == 403
    assert 'desc="country not known"' in str(refused.headers)
    plain = await world.request("GET", "/api/v1/plain/x", debug, client=GERMAN)
    assert "country" not in str(plain.headers)


def explained(world: World, client: str | None) -> Any:
    explainer = Explainer(world.live.table, rate=RatePolicy(), circuits=lambda _: Snapshot(), now=0.0)
    caller = world.live.keys.find(world.key, 0.0)
    request = Request("GET", PATH.encode(), b"", [(b"host", b"gateway.test")], client or FRENCH)
    return explainer.explain(request, caller, has_address=client is not None)


async def test_explain_says_which_country(world: World) -> None:
    await world.serve(ok(), policy=policy(allow=["country:DE"]))
    found = explained(world, FRENCH)
    assert (found.request["ip"], found.request["country"]) == (FRENCH, "FR")
    assert found.verdict.detail == "the service may not be called from this address (country FR)"
    assert "(country not known)" in explained(world, UNKNOWN).verdict.detail
    assert explained(world, UNKNOWN).request["country"] is None
    assert explained(world, GERMAN).verdict.outcome == "the backend is called"
    assert "country" not in explained(world, None).request


def test_a_document_needs_a_database() -> None:
    """Of services, routes and presets alike: each list is parsed by the same rule."""
    structure = {
        "version": 1,
        "services": {
            "crm": {
                "targets": [{"url": "http://a"}],
                "ip": {"deny": ["country:RU"]},
                "routes": [{"path": "/x", "ip": {"allow": ["10.0.0.0/8", "country:DE"]}}],
            }
        },
    }
    decode(structure, lambda _: None)
    from routing.countries.lookup import COUNTRIES

    COUNTRIES.configure(None)
    with pytest.raises(ConfigurationError) as found:
        decode(structure, lambda _: None)
    texts = [str(fault) for fault in found.value.faults]
    assert len(texts) == 2
    assert all("needs a database of countries: set GEOIP_DATABASE" in text for text in texts)
