"""A replay forecasts what applying the draft does: compared with gateways to which both configurations are applied."""

import asyncio
import time
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from metrics.replay.decision import Decision, Verdict
from metrics.replay.simulated_gateway import Environment
from metrics.replay.simulation import Recording, ReplayTooLong, simulate
from metrics.replay.virtual_time import VirtualTimeLoop
from metrics.request_log.record import RecordKind, RequestRecord
from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy, Scope
from resilience.ratelimit.policy import RatePolicy
from routing.authentication.api_keys import KeyRecord, generate_api_key
from routing.authentication.key_rules import KeyRules
from routing.configuration.consumers import decode_plan
from routing.configuration.networks import networks
from routing.consumers.table import ConsumerData, ConsumerRecord
from routing.gateway_rules import GatewayRules
from routing.router.credential_policy import CredentialPolicy, GrantType, Per
from routing.router.gateway_cookies import GatewayCookies
from routing.router.live import LoadedConfiguration
from routing.router.policy import Auth, Fallback, Retries, RoutePolicy, Target, Timeout
from routing.router.request_log_policy import RequestLogPolicy
from routing.router.table import RoutePattern, RouteTable, Service
from tests.metrics.replay.applied import START, Behaviour, Sent, send

EVERYTHING = RequestLogPolicy(sample=1)
RULES = GatewayRules(rate=RatePolicy(12, 60), max_body_bytes=1_000)
ENVIRONMENT = Environment(rules=RULES, cookies=GatewayCookies(), secret=b"secret")
OURS, THEIRS = generate_api_key(), generate_api_key()
KEYS = (
    KeyRecord(prefix=OURS.prefix, digest=OURS.digest, name="ours", scopes=frozenset({"*", "write"}), row=1),
    KeyRecord(prefix=THEIRS.prefix, digest=THEIRS.digest, name="theirs", scopes=frozenset({"crm"}), row=2),
)
BEHAVIOURS = {"": Behaviour(seconds=2.0, tail=1.0)}


def loaded(*services: Service, **more: Any) -> LoadedConfiguration:
    return LoadedConfiguration(RouteTable(services, **more.pop("table", {})), more.pop("keys", KEYS), **more)


def subscribed(plan: dict[str, Any], *services: Service) -> LoadedConfiguration:
    """The first key is that of a consumer with this plan."""
    consumer = ConsumerRecord(1, "acme", enabled=True, signed_up=START, plan="free")
    consumers = ConsumerData(plans={"free": decode_plan("free", plan)}, consumers={1: consumer})
    keys = (msgspec.structs.replace(KEYS[0], consumer=1), KEYS[1])
    return loaded(*services, keys=keys, consumers=consumers)


def service(name: str = "crm", routes: tuple[RoutePattern, ...] = (), **settings: Any) -> Service:
    defaults: dict[str, Any] = {"request_log": EVERYTHING, "timeout": Timeout(read=10, total=20)}
    policy = RoutePolicy(**defaults | settings)
    return Service(name, (Target("http://127.0.0.1:9"),), policy=policy, routes=routes)


def forecast(records: list[RequestRecord], configuration: LoadedConfiguration) -> list[Decision]:
    found = simulate(Recording(records), configuration, ENVIRONMENT, deadline=time.monotonic() + 60)
    assert None not in found
    return [each for each in found if each is not None]


def summary(decided: Decision | RequestRecord) -> tuple[Any, ...]:
    """What a replay and a recorded request have in common."""
    cache_rule = decided.cache_rule if decided.cache else ""
    return decided.service, decided.route, decided.status, decided.code, decided.cache, cache_rule


def check(
    before: LoadedConfiguration,
    draft: LoadedConfiguration,
    requests: list[Sent],
    behaviours: dict[str, Behaviour] | None = None,
) -> list[Decision]:
    """Send requests before and after the draft is applied, and compare what follows with the forecast."""
    requests = sorted(requests, key=lambda sent: sent.at)
    behaviours = BEHAVIOURS if behaviours is None else behaviours
    recorded = send(before, requests, rules=RULES, behaviours=behaviours)
    applied = send(draft, requests, rules=RULES, behaviours=behaviours)
    found = forecast(recorded, draft)
    assert differing(forecast(recorded, before), recorded) == []
    assert differing(found, applied) == []
    return found


def differing(found: list[Decision], records: list[RequestRecord]) -> list[Any]:
    """The summaries that differ, by the path and the time of their request."""
    pairs = [
        (record.path, record.at - START, summary(each), summary(record))
        for each, record in zip(found, records, strict=True)
    ]
    return [pair for pair in pairs if pair[2] != pair[3]]


caches = st.none() | st.builds(
    CachePolicy,
    ttl=st.sampled_from((0, 5, 60)),
    scope=st.sampled_from(Scope),
    stale_while_revalidate=st.sampled_from((0, 30)),
    override=st.booleans(),
)
settings_of: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "auth": st.sampled_from((Auth.REQUIRED, Auth.OPTIONAL)),
        "enabled": st.sampled_from((True, True, True, False)),
        "scopes": st.sampled_from(((), ("write",))),
        "ip": st.sampled_from(((), networks({"allow": ["192.0.2.0/24"]}))),
        "rate_limit": st.none() | st.builds(RatePolicy, st.integers(1, 6), st.sampled_from((10, 60))),
        "max_concurrency": st.sampled_from((256, 256, 1)),
        "cache": caches,
        "fallback": st.none() | st.builds(Fallback, status=st.just(203)),
    }
)


@st.composite
def services(draw: st.DrawFn, name: str) -> Service:
    own = draw(settings_of)
    routes = [
        RoutePattern(path, methods, service(**draw(settings_of)).policy)
        for path in ("/contacts", "/contacts/{id}")
        if (methods := draw(st.sampled_from((None, (), ("GET",), ("GET", "DELETE"))))) is not None
    ]
    return service(name, tuple(routes), **own)


KNOWN = service("known", cache=None)
"""With one request, so that it is known how long backends take."""
configurations = st.tuples(services("crm"), services("billing")).map(lambda both: loaded(*both, KNOWN))
requests_of = st.lists(
    st.builds(
        Sent,
        at=st.integers(0, 120_000).map(lambda milliseconds: milliseconds / 1_000),
        method=st.sampled_from(("GET", "GET", "GET", "HEAD", "DELETE")),
        path=st.sampled_from(("crm", "billing")).flatmap(
            lambda name: st.sampled_from(("contacts", "contacts/7", "contacts/8", "a//b")).map(
                lambda path: f"/api/v1/{name}/{path}"
            )
        ),
        key=st.sampled_from((OURS.key, THEIRS.key, OURS.key, "")),
        client=st.sampled_from(("192.0.2.7", "198.51.100.1")),
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda sent: sent.at,
)


@settings(
    max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate,)
)
@given(before=configurations, draft=configurations, requests=requests_of)
def test_a_replay_forecasts_what_applying_does(
    before: LoadedConfiguration, draft: LoadedConfiguration, requests: list[Sent]
) -> None:
    check(before, draft, [*requests, Sent(200, path="/api/v1/known/x", key=OURS.key)])


def every(seconds: float, count: int, **more: Any) -> list[Sent]:
    return [Sent(round(number * seconds, 3), **{"key": OURS.key, **more}) for number in range(count)]


def uncached(**more: Any) -> LoadedConfiguration:
    return loaded(service(cache=None, **more))


ONCE = Retries(attempts=1)
DIRECTIVES = {
    "unstored": Behaviour(headers=((b"cache-control", b"no-store"),)),
    "short": Behaviour(headers=((b"cache-control", b"max-age=20"),)),
    "cookie": Behaviour(headers=((b"set-cookie", b"a=1"),)),
}


@pytest.mark.parametrize(
    ("before", "draft", "requests", "behaviours", "statuses"),
    [
        pytest.param(
            uncached(retries=ONCE),
            uncached(retries=ONCE, breaker=BreakerPolicy(failure_threshold=2)),
            every(1, 8),
            {"": Behaviour(refuses=True)},
            [502] * 2 + [503] * 6,
            id="a circuit opens earlier",
        ),
        pytest.param(
            uncached(),
            uncached(timeout=Timeout(read=1, total=5), retries=ONCE),
            every(10, 3),
            {"": Behaviour(seconds=3)},
            [504] * 3,
            id="a time-out is shorter",
        ),
        pytest.param(
            subscribed({}, service(cache=None)),
            subscribed({"quota": [{"amount": 4, "per": "day"}]}, service(cache=None)),
            every(20, 6),
            {},
            [200] * 4 + [429] * 2,
            id="a plan gets a quota",
        ),
        pytest.param(
            subscribed({}, service(cache=None)),
            subscribed({"quota": [{"amount": 2, "per": "hour", "anchor": "signup"}]}, service(cache=None)),
            every(1_000, 9),
            {},
            [200, 200, 429, 429] * 2 + [200],
            id="a quota begins again",
        ),
        pytest.param(
            subscribed({"rate": "100/m"}, service(cache=None)),
            subscribed({"rate": "3/m"}, service(cache=None)),
            every(5, 6),
            {},
            [200] * 3 + [429] * 3,
            id="a plan gets a lower rate",
        ),
        pytest.param(
            subscribed({}, service(cache=None)),
            subscribed({"concurrency": 2}, service(cache=None)),
            every(1, 5),
            {"": Behaviour(seconds=2, tail=2)},
            [200, 200, 429, 429, 200],
            id="a plan gets slots",
        ),
        pytest.param(
            subscribed({}, service(cache=None)),
            subscribed({"services": ["billing"]}, service(cache=None), service("billing")),
            every(1, 2),
            {},
            [403] * 2,
            id="a plan loses the service",
        ),
        pytest.param(
            loaded(service(cache=CachePolicy(ttl=300))),
            loaded(service(cache=CachePolicy(ttl=300, scope=Scope.SHARED))),
            [
                Sent(number, path=f"/api/v1/crm/{name}", key=key)
                for number, (name, key) in enumerate(
                    (name, key) for key in (OURS.key, THEIRS.key) * 2 for name in ("unstored", "short", "cookie", "x")
                )
            ],
            DIRECTIVES,
            [200] * 16,
            id="callers share what the backend lets them",
        ),
        pytest.param(
            uncached(),
            uncached(auth=Auth.CERTIFICATE),
            every(1, 2),
            {},
            [401] * 2,
            id="keys no longer suffice",
        ),
    ],
)
def test_a_replay_follows_every_rule(
    before: LoadedConfiguration,
    draft: LoadedConfiguration,
    requests: list[Sent],
    behaviours: dict[str, Behaviour],
    statuses: list[int],
) -> None:
    assert [each.status for each in check(before, draft, requests, behaviours)] == statuses


def test_keys_that_are_gone_or_restricted_are_refused() -> None:
    requests = [*every(1, 2), *every(1, 2, key=THEIRS.key)]
    rules = KeyRules((), frozenset({"POST"}))
    draft = loaded(service(cache=None), keys=(msgspec.structs.replace(KEYS[0], rules=rules),))
    found = check(uncached(), draft, [msgspec.structs.replace(each, at=number) for number, each in enumerate(requests)])
    assert [each.status for each in found] == [403, 403, 401, 401]


def recorded(caller: str, **more: Any) -> RequestRecord:
    values: dict[str, Any] = {
        "at": START,
        "id": "r",
        "kind": RecordKind.SAMPLED,
        "method": "GET",
        "host": "gateway",
        "status": 200,
    }
    return RequestRecord(**values | {"path": "/api/v1/crm/x", "service": "crm", "caller": caller} | more)


@pytest.mark.parametrize(
    ("caller", "settings", "status"),
    [
        ("firebase:ada", {}, 200),
        ("firebase:ada", {"scopes": ("write",)}, 403),
        ("firebase+acme:ada", {"auth": Auth.NONE}, 200),
        ("jwt+nobody:ada", {}, 401),
        ("certificate+acme:dns:a.example.com", {}, 200),
        ("certificate+acme:dns:a.example.com", {"auth": Auth.CERTIFICATE}, 200),
        ("certificate+acme:dns:a.example.com", {"auth": Auth.SIGNATURE}, 401),
        ("certificate+acme:dns:a.example.com", {"auth": Auth.NONE}, 200),
        ("certificate+nobody:dns:a.example.com", {"auth": Auth.CERTIFICATE}, 401),
        ("signature+acme:main", {"auth": Auth.SIGNATURE}, 401),
    ],
)
def test_callers_are_identified_without_their_credentials(caller: str, settings: dict[str, Any], status: int) -> None:
    configuration = subscribed({}, service(cache=None, **settings))
    (found,) = forecast([recorded(caller)], configuration)
    assert (found.status, found.verdict) == (status, Verdict.ROUTED if status == 200 else Verdict.REFUSED)


def test_posts_are_the_same_only_if_their_cache_keys_were() -> None:
    reading = CachePolicy(methods=("GET", "HEAD", "POST"), scope=Scope.SHARED)
    key = f"key:{OURS.prefix}"
    posts = [
        recorded(key, method="POST", at=START + at, cache_key=text) for at, text in enumerate(("aa", "", "aa", ""))
    ]
    found = forecast(posts, loaded(service(cache=reading)))
    assert [each.cache for each in found] == ["MISS", "MISS", "HIT", "MISS"]


def test_credentials_of_the_gateway_are_assumed() -> None:
    credential = CredentialPolicy(grant=GrantType.CLIENT_CREDENTIALS, token_url="https://a.example.com", client_id="c")
    per_tenant = msgspec.structs.replace(credential, per=Per.TENANT)
    for policy, status in ((credential, 200), (per_tenant, 403)):
        (found,) = forecast([recorded(f"key:{OURS.prefix}")], uncached(credential=policy))
        assert found.status == status


def test_a_replay_ends_in_time_and_may_be_empty() -> None:
    with pytest.raises(ReplayTooLong):
        simulate(Recording([recorded("")]), uncached(), ENVIRONMENT, deadline=time.monotonic() - 1)
    assert forecast([], uncached()) == []


def test_time_passes_only_while_nothing_is_left_to_do() -> None:
    async def wait() -> tuple[float, float]:
        began = time.monotonic()
        await asyncio.gather(asyncio.sleep(86_400), asyncio.sleep(7))
        return asyncio.get_running_loop().time(), time.monotonic() - began

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        elapsed, real = runner.run(wait())
        with pytest.raises(RuntimeError, match="wait for each other"):
            runner.run(asyncio.Event().wait())
    assert elapsed == 86_400
    assert real < 3_600
