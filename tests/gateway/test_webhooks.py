"""`POST /hooks/<name>` through each entry point, with the worker behind it: what a provider and a stranger receive."""

import json
import time
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from resilience.cache.policy import CachePolicy, Scope
from resilience.outage import StoreUnavailable
from resilience.ratelimit.driver import Limiter
from resilience.ratelimit.memory import MemoryStore as RateMemory
from resilience.ratelimit.policy import RatePolicy
from routing import runtime
from routing.deliveries.endpoint import WebhookEndpoint
from routing.deliveries.work import Work
from routing.deliveries.worker import DeliveryWorker
from routing.gateway_rules import GatewayRules
from routing.http import Headers
from routing.realtime.log import MemoryLog
from routing.realtime.service import Realtime
from routing.router.policy import RoutePolicy
from routing.router.table import RoutePattern, RouteTable
from routing.webhooks.delivery import Delivery
from routing.webhooks.memory import MemoryQueue
from routing.webhooks.policy import LARGEST_BODY_BYTES, MAX_BODY_BYTES, Forward, Publish, PubSubForm, Verify
from tests.firebase import FirebaseIssuer, serving
from tests.gateway.conftest import QUICK, World, make_world
from tests.gateway.entry_points import (
    AsgiEntryPoint,
    DjangoEntryPoint,
    EntryPoint,
    Http1EntryPoint,
    ReceivedResponse,
    install,
)
from tests.resilience.waiting import until
from tests.routing.webhooks import providers
from tests.routing.webhooks.providers import OF_BODIES, SIGNERS, event, webhook

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\n{}"
REFUSALS = RatePolicy(5, 60.0)
HOST = "gateway.example.com"


class Hooks:
    """A gateway with webhooks, and what became of their deliveries."""

    def __init__(self, entry_point: str) -> None:
        rules = GatewayRules(rate=RatePolicy(1_000, 60), max_body_bytes=2_000_000, allowed_hosts=(HOST, "gateway.test"))
        self.world: World = make_world(entry_point, rules)
        gateway, clock = self.world.gateway, self.world.clock
        clock.now = providers.NOW
        self.counts = Counter[str]()
        self.kept: list[Delivery] = []
        self.queue = MemoryQueue(clock)
        self.realtime = Realtime(MemoryLog(clock), self.world.live, None, clock=clock)  # type: ignore[arg-type]
        limiter = Limiter(RateMemory(), clock=clock)
        self.endpoint = WebhookEndpoint(gateway, self.queue, limiter, refusals=REFUSALS, count=self.count, clock=clock)
        work = Work(gateway, self.world.cache, self.realtime, self.world.live, self.count)
        self.worker = DeliveryWorker(self.queue, work, self.world.live, keep_failed=self.keep, count=self.count)
        kinds: dict[str, Callable[..., EntryPoint]] = {
            "http1": Http1EntryPoint,
            "asgi": AsgiEntryPoint,
            "django": DjangoEntryPoint,
        }
        self.entry_point = kinds[entry_point](SimpleNamespace(answer=self.endpoint.answer))
        install(gateway, webhooks=self.endpoint)

    def count(self, name: str, outcome: str) -> None:
        self.counts[outcome] += 1

    async def keep(self, delivery: Delivery) -> None:
        self.kept.append(delivery)

    def add(self, kind: Verify, **more: Any) -> None:
        table = self.world.live.table
        hooks = [*table.webhooks.values(), webhook(kind, **more)]
        self.world.live.table = RouteTable(table.services.values(), webhooks=hooks)

    async def send(self, path: str, body: bytes, headers: Headers, **more: Any) -> ReceivedResponse:
        media_type: Headers = [] if b"content-type" in dict(headers) else [(b"content-type", b"application/json")]
        fields = [(name.decode(), value) for name, value in [*media_type, *headers]]
        world, original = self.world, self.world.entry_point
        world.entry_point = self.entry_point
        try:
            options = {"key": "", "body": [body], "host": HOST, **more}
            return await world.request(options.pop("method", "POST"), path, fields, **options)
        finally:
            world.entry_point = original

    async def deliver(self, kind: Verify, body: bytes, **more: Any) -> ReceivedResponse:
        return await self.send(f"/hooks/{kind.value}", body, SIGNERS[kind](body, self.world.clock.now), **more)


@pytest.fixture(params=["http1", "asgi", "django"])
async def hooks(request: pytest.FixtureRequest) -> AsyncIterator[Hooks]:
    made = Hooks(request.param)
    await runtime.current().start()
    made.realtime.start()
    made.worker.start()
    yield made
    await made.worker.close()
    await made.realtime.close()
    await runtime.current().stop()
    await made.world.close()


def code(response: ReceivedResponse) -> str:
    assert response.get("content-type") == "application/problem+json"
    return str(response.json()["code"])


async def test_every_kind_of_delivery_is_accepted_once(hooks: Hooks) -> None:
    for kind in SIGNERS:
        if kind is Verify.HUBSPOT_V3:
            continue
        hooks.add(kind)
        body = event(kind=kind.value, id="evt_1")
        responses = [await hooks.deliver(kind, body) for _ in range(2)]
        assert [response.status for response in responses] == [200, 200], kind
        assert [response.json()["status"] for response in responses] == ["queued", "duplicate"], kind
    await until(lambda: hooks.counts["done"] == len(SIGNERS) - 1)


async def test_hubspot_signs_the_address_that_it_has_called(hooks: Hooks) -> None:
    hooks.add(Verify.HUBSPOT_V3)
    body = b'[{"eventId":1,"objectId":7}]'
    signed = providers.hubspot(body, uri=f"http://{HOST}/hooks/hubspot_v3?team=/a".encode())
    response = await hooks.send("/hooks/hubspot_v3?team=%2Fa", body, signed)
    assert response.status == 200
    assert (await hooks.send("/hooks/hubspot_v3?team=b", body, signed)).status == 401


@pytest.mark.parametrize("kind", OF_BODIES)
async def test_forgeries_are_refused_with_a_problem(hooks: Hooks, kind: Verify) -> None:
    hooks.add(kind)
    body = event()
    headers = SIGNERS[kind](body, hooks.world.clock.now)
    for changed, fields in ((body + b" ", headers), (body, headers[1:]), (body, [headers[0], *headers])):
        response = await hooks.send(f"/hooks/{kind.value}", changed, fields)
        assert (response.status, code(response)) == (401, "unauthenticated")
        assert response.get("www-authenticate")
    assert await hooks.queue.depth() == 0
    assert hooks.counts["queued"] == 0


async def test_what_is_no_delivery_is_refused(hooks: Hooks) -> None:
    hooks.add(Verify.SLACK)
    hooks.add(Verify.GITHUB, enabled=False)
    hooks.add(Verify.STRIPE, faults=("secret: the environment variable X is not set",))
    body = event()
    for path, kind, expected in (
        ("/hooks/nothing", Verify.SLACK, (404, "unknown_webhook")),
        ("/hooks/", Verify.SLACK, (404, "unknown_webhook")),
        ("/hooks/slack/more", Verify.SLACK, (404, "unknown_webhook")),
        ("/hooks/github", Verify.GITHUB, (503, "service_disabled")),
        ("/hooks/stripe", Verify.STRIPE, (503, "service_misconfigured")),
    ):
        response = await hooks.send(path, body, SIGNERS[kind](body))
        assert (response.status, code(response)) == expected
    response = await hooks.send("/hooks/slack", body, [], method="PUT")
    assert (response.status, code(response), response.get("allow")) == (405, "method_not_allowed", "POST")
    response = await hooks.deliver(Verify.SLACK, b'{"event": ')
    assert (response.status, code(response)) == (400, "bad_request")
    response = await hooks.deliver(Verify.SLACK, body, host="other.example.com")
    assert (response.status, code(response)) == (421, "misdirected_request")


async def test_a_body_of_more_than_a_megabyte_is_refused(hooks: Hooks) -> None:
    hooks.add(Verify.SLACK)
    large = b'{"a": "%b"}' % (b"x" * MAX_BODY_BYTES)
    for length in (True, False):
        response = await hooks.send("/hooks/slack", large, providers.slack(large), length=length)
        assert (response.status, code(response)) == (413, "body_too_large")
    fits = large[: MAX_BODY_BYTES - 2] + b'"}'
    assert (await hooks.deliver(Verify.SLACK, fits)).status == 200


async def test_a_webhook_has_the_largest_body_that_is_set(hooks: Hooks) -> None:
    hooks.add(Verify.GITHUB, max_body_bytes=LARGEST_BODY_BYTES)
    hooks.add(Verify.STRIPE, max_body_bytes=1_000)
    assert (await hooks.deliver(Verify.GITHUB, b'{"a": "%b"}' % (b"x" * (LARGEST_BODY_BYTES - 9)))).status == 200
    assert (await hooks.deliver(Verify.STRIPE, b'{"a": "%b"}' % (b"x" * 900))).status == 200
    response = await hooks.deliver(Verify.STRIPE, b'{"a": "%b"}' % (b"x" * 1_000))
    assert (response.status, response.json()["detail"]) == (413, "a delivery may have at most 1000 bytes")


async def test_no_credential_of_the_gateway_is_needed_or_looked_at(hooks: Hooks) -> None:
    hooks.add(Verify.SLACK)
    assert (await hooks.deliver(Verify.SLACK, event(), key="gw_not_a_key")).status == 200
    response = await hooks.send("/hooks/slack", event(), [(b"x-api-key", hooks.world.key.encode())])
    assert response.status == 401


async def test_browsers_are_given_no_access(hooks: Hooks) -> None:
    hooks.add(Verify.SLACK)
    response = await hooks.deliver(Verify.SLACK, event())
    assert response.get("access-control-allow-origin") is None
    asked = [(b"origin", b"https://a.example.com"), (b"access-control-request-method", b"POST")]
    response = await hooks.send("/hooks/slack", b"", asked, method="OPTIONS")
    assert response.status == 405
    assert response.get("access-control-allow-origin") is None


async def test_handshakes_are_answered_if_they_are_the_providers(hooks: Hooks) -> None:
    hooks.add(Verify.SLACK)
    hooks.add(Verify.GOOGLE_CHANNEL)
    body = json.dumps({"type": "url_verification", "challenge": "abc"}).encode()
    response = await hooks.deliver(Verify.SLACK, body)
    assert (response.status, response.json()) == (200, {"challenge": "abc"})
    assert (await hooks.send("/hooks/slack", body, [])).status == 401
    sync = [
        field if field[0] != b"x-goog-resource-state" else (field[0], b"sync") for field in providers.google_channel()
    ]
    assert (await hooks.send("/hooks/google_channel", b"", sync)).status == 200
    assert hooks.counts["queued"] == 0


async def test_what_people_do_in_slack_is_answered_without_a_body(hooks: Hooks) -> None:
    """Slack shows one to the user of a command, and takes one for an error of a modal."""
    hooks.add(Verify.SLACK)
    form: Headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    for body in (b"command=%2Fdeploy&text=now", b"payload=%7B%22type%22%3A%22view_submission%22%7D"):
        signed = SIGNERS[Verify.SLACK](body, hooks.world.clock.now)
        for _ in range(2):  # the second one is a repetition
            response = await hooks.send("/hooks/slack", body, [*signed, *form])
            assert (response.status, response.body) == (200, b"")
    assert hooks.counts["queued"] == hooks.counts["duplicate"] == 2


async def test_a_payload_of_another_provider_is_no_interaction(hooks: Hooks) -> None:
    hooks.add(Verify.STRIPE)
    response = await hooks.deliver(Verify.STRIPE, b'{"id": "evt_1", "payload": {}}')
    assert response.json() == {"status": "queued"}


async def test_a_flood_of_forgeries_is_cut_off_and_delays_no_one_else(hooks: Hooks) -> None:
    hooks.add(Verify.SLACK)
    forged = [await hooks.send("/hooks/slack", event(), [], client="203.0.113.9") for _ in range(20)]
    assert [response.status for response in forged] == [401] * 5 + [429] * 15
    assert code(forged[-1]) == "rate_limited"
    assert int(forged[-1].get("retry-after") or 0) > 0
    for number in range(50):  # more than the limit of refusals
        assert (await hooks.deliver(Verify.SLACK, event(event_id=str(number)))).status == 200
    hooks.world.clock.advance(61)
    assert (await hooks.deliver(Verify.SLACK, event(event_id="later"), client="203.0.113.9")).status == 200


async def test_what_one_webhook_refuses_does_not_count_for_another_of_the_same_provider(hooks: Hooks) -> None:
    """Providers send for all their customers from the same addresses."""
    hooks.add(Verify.SLACK)
    hooks.add(Verify.GITHUB)
    shared = "203.0.113.9"
    for _ in range(10):
        await hooks.send("/hooks/slack", event(), [], client=shared)
    assert (await hooks.send("/hooks/slack", event(), [], client=shared)).status == 429
    assert (await hooks.deliver(Verify.GITHUB, event(), client=shared)).status == 200


async def test_while_the_queue_is_full_or_away_the_provider_repeats(hooks: Hooks) -> None:
    hooks.add(Verify.SLACK)

    async def away(*_: object) -> Any:
        raise StoreUnavailable("away")

    add = hooks.queue.add
    hooks.queue.add = away  # type: ignore[method-assign,assignment]
    response = await hooks.deliver(Verify.SLACK, event())
    assert (response.status, code(response)) == (503, "unavailable")
    hooks.queue.add = add  # type: ignore[method-assign]
    hooks.queue._max_deliveries = 0
    response = await hooks.deliver(Verify.SLACK, event())
    assert (response.status, code(response)) == (503, "unavailable")
    assert response.get("retry-after")
    hooks.queue._max_deliveries = 10
    assert (await hooks.deliver(Verify.SLACK, event())).json() == {"status": "queued"}


async def test_a_change_at_the_source_ends_the_responses_that_it_names(hooks: Hooks) -> None:
    cached = CachePolicy(ttl=600, scope=Scope.SHARED, tags=("channel:{channel}",))
    policy = RoutePolicy(timeout=QUICK, cache=cached)
    origin = await hooks.world.serve(
        OK, name="slack", policy=policy, routes=(RoutePattern("/history/{channel}", (), policy),)
    )
    hooks.add(
        Verify.SLACK,
        service="slack",
        invalidates=("channel:{event.channel}",),
        publish=Publish(topic="slack:{event.type}"),
    )

    async def cache_result(channel: str) -> str | None:
        response = await hooks.world.request("GET", f"/api/v1/slack/history/{channel}", host=HOST)
        assert response.status == 200
        return response.get("x-cache")

    for channel in ("C1", "C2"):
        assert await cache_result(channel) == "MISS"
        assert await cache_result(channel) == "HIT"
    began = time.monotonic()
    assert (await hooks.deliver(Verify.SLACK, event())).status == 200
    await until(lambda: hooks.counts["done"] == 1)
    assert time.monotonic() - began < 5
    assert await cache_result("C1") == "MISS"
    assert await cache_result("C2") == "HIT"
    assert len(origin.requests) == 3


async def test_a_delivery_is_forwarded_through_the_gateways_own_steps(hooks: Hooks) -> None:
    failing = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    policy = RoutePolicy(timeout=QUICK, cache=None, headers=((b"authorization", b"Bearer of the service"),))
    origin = await hooks.world.serve(failing, OK, policy=policy)
    hooks.add(Verify.SHARED_TOKEN, forward=Forward(service="crm", path="/webhooks"))
    body = event()
    headers = [
        *providers.shared_token(),
        (b"cookie", b"a=b"),
        (b"x-github-event", b"push"),
        (b"authorization", b"Basic x"),
    ]
    assert (await hooks.send("/hooks/shared_token", body, headers)).status == 200
    await until(lambda: hooks.counts["retried"] == 1)
    hooks.world.clock.advance(2)
    await until(lambda: hooks.counts["done"] == 1)
    first, second = origin.requests
    assert first.line == second.line == b"POST /webhooks HTTP/1.1"
    assert second.body == body
    fields = dict(second.fields)
    assert fields[b"authorization"] == b"Bearer of the service"
    assert fields[b"x-gateway-caller"] == b"webhook:shared_token"
    assert fields[b"x-github-event"] == b"push"
    assert dict(first.fields)[b"idempotency-key"] == fields[b"idempotency-key"]
    assert fields.keys().isdisjoint({b"cookie", b"x-webhook-token"})


async def test_a_disabled_endpoint_has_no_webhooks(hooks: Hooks) -> None:
    hooks.add(Verify.SLACK)
    hooks.endpoint._is_enabled = False
    response = await hooks.deliver(Verify.SLACK, event())
    assert (response.status, code(response)) == (404, "unknown_webhook")


async def test_a_push_of_pubsub_is_verified_with_keys_from_an_address(hooks: Hooks) -> None:
    google = FirebaseIssuer()
    hooks.world.clock.now = time.time()
    address = "https://gateway.example.com/hooks/google_pubsub"
    claims: dict[str, Any] = {
        "iss": "https://accounts.google.com",
        "aud": address,
        "email": "push@example.com",
        "email_verified": True,
    }
    message = {"data": b64encode(b'{"emailAddress":"ada@example.com"}').decode(), "messageId": "1"}
    body = json.dumps({"subscription": "s", "message": message}).encode()

    def bearer(**overrides: Any) -> Headers:
        return [(b"authorization", f"Bearer {google.token(**claims | overrides)}".encode())]

    with serving(google):
        from firebase_admin import _token_gen

        form = PubSubForm(audience=address, email="push@example.com", keys_url=_token_gen.ID_TOKEN_CERT_URI)
        hooks.add(
            Verify.GOOGLE_PUBSUB, pubsub=form, secrets=(), service="gmail", invalidates=("m:{data.emailAddress}",)
        )
        path = "/hooks/google_pubsub"
        assert (await hooks.send(path, body, bearer())).json() == {"status": "queued"}
        assert (await hooks.send(path, body, bearer())).json() == {"status": "duplicate"}
        for wrong in ({"email": "eve@example.com"}, {"aud": "x"}, {"exp": 1}, {"email_verified": False}):
            assert (await hooks.send(path, body, bearer(**wrong))).status == 401
        assert (await hooks.send(path, body, [])).status == 401
    assert google.fetches == 1
    await until(lambda: hooks.counts["done"] == 1)
    assert hooks.counts["unfilled"] == 0
