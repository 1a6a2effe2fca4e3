"""Events reach a receiver that fails, hangs, refuses and repeats, and add up to what was counted."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from metrics.models import DailyUsage, UsageEvent
from metrics.usage import outbox as outbox_module
from metrics.usage import sender as sender_module
from metrics.usage.cloudevents import BATCH_SIZE, CloudEvent, Format, duplicates
from metrics.usage.ledger import UsageLedger
from metrics.usage.outbox import LEASE_SECONDS, Outbox, backlog, retry_rejected, status
from metrics.usage.record import UsageBatch, UsageCounts, UsageKey
from metrics.usage.sender import LostClaim, UsageSender
from routing.backend.client import Backend
from tests.clock import FakeClock
from tests.origin import Peer, ScriptedOrigin

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
KEY = UsageKey("2026-01-31", "acme", "", "sales", "crm", "/a", "EUR")
ACCEPTED = b"HTTP/1.1 204 No Content\r\n\r\n"


def respond(status: int, body: bytes = b"", fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n" % (status, len(body), fields) + body


class Receiver:
    """Accepts events once each, by id, as OpenMeter and Lago do; `answers` come first, one for each request."""

    def __init__(self, *answers: bytes | Callable[[Peer], Awaitable[None]]) -> None:
        self.answers = list(answers)
        self.events: dict[str, CloudEvent] = {}
        self.requests: list[Any] = []
        self.heads: list[dict[bytes, bytes]] = []
        self.loses_replies = False

    async def __call__(self, peer: Peer) -> None:
        content = json.loads(await peer.read_body())
        self.requests.append(content)
        self.heads.append(dict(peer.request.fields))
        answer = self.answers.pop(0) if self.answers else None
        if callable(answer):
            await answer(peer)
            return
        if answer is None:
            for event in content if isinstance(content, list) else content.get("events", [content]):
                self.events.setdefault(event.get("id") or event["transaction_id"], event)
        if self.loses_replies:
            self.loses_replies = False
            peer.reset()
            return
        await peer.send(ACCEPTED if answer is None else answer)

    @property
    def sums(self) -> Counter[str]:
        """What all events add up to."""
        total: Counter[str] = Counter()
        for event in self.events.values():
            data = event.get("data") or event["properties"]
            total.update({name: data[name] for name in ("requests", "errors", "bytes_in", "bytes_out", "cached")})
        return total


def store(number: int, *keys: UsageKey, counts: UsageCounts | None = None) -> None:
    """Count at each key; `number` makes it another batch than others."""
    rows = [(key, counts or UsageCounts(1, 0, 1, 2, 3, 500_000, 2_000_000)) for key in keys]
    UsageLedger().save([UsageBatch(f"batch-{number}", 0.0, rows)])


async def stored(number: int, *keys: UsageKey) -> None:
    await asyncio.to_thread(store, number, *keys)


class World:
    """A receiver on a socket, and any number of workers that deliver to it."""

    def __init__(self, receiver: Receiver, form: Format = Format.BATCH, limit: float = 5.0) -> None:
        self.receiver, self.form, self.limit = receiver, form, limit
        self.clock = FakeClock(NOW)
        self.origin = ScriptedOrigin(receiver)
        self.backend = Backend()

    async def __aenter__(self) -> "World":
        await self.origin.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.backend.close()
        await self.origin.__aexit__()

    def worker(self, interval: float = 60) -> UsageSender:
        return UsageSender(
            Outbox(type="gateway.usage", source="test", timezone=ZoneInfo("UTC"), interval=interval),
            self.backend,
            url=f"{self.origin.target.url}/events?tenant=1",
            form=self.form,
            headers=lambda: [(b"authorization", b"Bearer secret")],
            clock=self.clock,
            limit=self.limit,
        )


async def test_usage_is_sent_as_cloudevents_in_batches() -> None:
    await stored(1, KEY, UsageKey("2026-01-30", caller="key:abcdefgh", service="crm"), UsageKey("2026-01-31"))
    async with World(Receiver()) as world:
        await world.worker().run_once()
        [head], [events] = world.receiver.heads, world.receiver.requests
        assert world.origin.requests[0].line == b"POST /events?tenant=1 HTTP/1.1"
    assert head[b"content-type"] == b"application/cloudevents-batch+json"
    assert head[b"authorization"] == b"Bearer secret"
    by_subject = {event["subject"]: event for event in events}
    assert set(by_subject) == {"acme", "key:abcdefgh", "anonymous"}
    acme = by_subject["acme"]
    assert len(acme.pop("id")) == 32
    assert acme == {
        "specversion": "1.0",
        "source": "test",
        "type": "gateway.usage",
        "subject": "acme",
        "time": "2026-01-31T12:00:00.000Z",
        "datacontenttype": "application/json",
        "data": {
            "day": "2026-01-31",
            "consumer": "acme",
            "caller": "",
            "key": "",
            "team": "sales",
            "service": "crm",
            "route": "/a",
            "requests": 1,
            "errors": 0,
            "cached": 1,
            "bytes_in": 2,
            "bytes_out": 3,
            "backend_seconds": 0.5,
            "amount": "0.002",
            "currency": "EUR",
        },
    }
    assert by_subject["key:abcdefgh"]["time"] == "2026-01-30T23:59:59.000Z"  # of the day that it is of
    assert "amount" not in by_subject["anonymous"]["data"]


async def test_one_event_in_each_request_in_the_structured_mode() -> None:
    await stored(1, KEY, KEY._replace(service="mail"))
    async with World(Receiver(), Format.STRUCTURED) as world:
        await world.worker().run_once()
        assert [request["specversion"] for request in world.receiver.requests] == ["1.0", "1.0"]
        assert world.receiver.heads[0][b"content-type"] == b"application/cloudevents+json"


async def test_events_as_lago_takes_them() -> None:
    await stored(1, KEY)
    async with World(Receiver(), Format.LAGO) as world:
        await world.worker().run_once()
        [request] = world.receiver.requests
    [event] = request["events"]
    assert event["external_subscription_id"] == "acme"
    assert (event["code"], event["timestamp"]) == ("gateway.usage", int(NOW))
    assert event["properties"]["requests"] == 1
    assert event["precise_total_amount_cents"] == "0.200"
    assert len(event["transaction_id"]) == 32


async def test_later_usage_is_in_later_events_that_add_up_and_no_new_usage_is_no_event() -> None:
    async with World(Receiver()) as world:
        worker = world.worker()
        for number in range(3):
            await stored(number, KEY)
            await worker.run_once()
            world.clock.advance(60)
        await worker.run_once()
        assert len(world.receiver.events) == 3
        assert world.receiver.sums["requests"] == 3
        assert len(world.receiver.requests) == 3


async def test_events_are_made_once_each_interval_whoever_delivers() -> None:
    async with World(Receiver()) as world:
        first, second = world.worker(), world.worker()
        await stored(1, KEY)
        await first.run_once()
        await stored(2, KEY)
        world.clock.advance(LEASE_SECONDS + 1)
        await second.run_once()
        assert world.receiver.sums["requests"] == 1
        world.clock.advance(60)
        await first.run_once()
        assert world.receiver.sums["requests"] == 2


async def hang(peer: Peer) -> None:
    await peer.wait_closed()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (respond(500), "status 500"),
        (respond(401), "status 401"),
        (respond(302, fields=b"Location: http://127.0.0.1:1/\r\n"), "status 302"),
        (hang, "in time"),
        (b"HTTP/1.1 nonsense\r\n\r\n", "cannot be reached"),
    ],
)
async def test_a_failed_delivery_is_repeated_later_with_the_same_ids(answer: Any, reason: str) -> None:
    await stored(1, KEY, KEY._replace(service="mail"))
    async with World(Receiver(answer, answer), limit=0.5) as world:
        worker = world.worker()
        await worker.run_once()
        found = await asyncio.to_thread(status)
        assert found is not None
        assert (found.failures, reason in found.failure) == (1, True)
        assert "secret" not in found.failure
        await worker.run_once()  # too early
        assert len(world.receiver.requests) == 1
        world.clock.advance(2)
        await worker.run_once()
        world.clock.advance(4)
        await worker.run_once()
        first, _, third = world.receiver.requests
        assert [event["id"] for event in first] == [event["id"] for event in third]
        assert world.receiver.sums["requests"] == 2
        found = await asyncio.to_thread(status)
        assert found is not None
        assert (found.failures, found.failure, found.delivered_at) == (0, "", world.clock.now)
        assert await asyncio.to_thread(UsageEvent.objects.count) == 0


@pytest.mark.parametrize(
    "fields",
    [
        b"Retry-After: 100\r\n",
        b"Date: Mon, 30 Nov 2026 12:00:00 GMT\r\nRetry-After: Mon, 30 Nov 2026 12:01:40 GMT\r\n",
    ],
)
async def test_the_receiver_can_name_the_time_of_the_next_try(fields: bytes) -> None:
    await stored(1, KEY)
    async with World(Receiver(respond(429, fields=fields))) as world:
        worker = world.worker()
        await worker.run_once()
        world.clock.advance(99)
        await worker.run_once()
        assert len(world.receiver.requests) == 1
        world.clock.advance(2)
        await worker.run_once()
        assert world.receiver.sums["requests"] == 1


async def test_a_receiver_that_is_gone_is_bounded_and_gets_everything_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "MAX_EVENTS", 5)
    monkeypatch.setattr(outbox_module, "CHUNK", 2)
    keys = [KEY._replace(consumer=f"c{number}") for number in range(8)]
    async with World(Receiver(*[respond(503)] * 10)) as world:
        worker = world.worker(interval=1)
        for number in range(10):
            await stored(number, *keys)
            world.clock.advance(400)
            await worker.run_once()
        assert await asyncio.to_thread(UsageEvent.objects.count) <= 6
        for _ in range(3):
            world.clock.advance(400)
            await worker.run_once()
        assert world.receiver.sums["requests"] == 80
        assert len(world.receiver.events) < 30  # what could not be sent became few events


async def test_a_refused_event_is_found_and_put_aside_and_the_others_are_delivered() -> None:
    keys = [KEY._replace(consumer=f"c{number}") for number in range(9)]
    await stored(1, *keys)

    async def refuse(peer: Peer) -> None:
        events = json.loads(peer.request.body)
        if any(event["subject"] == "c4" for event in events):
            await peer.send(respond(400, b'{"detail": "unknown subject"}'))
        else:
            world.receiver.events |= {event["id"]: event for event in events}
            await peer.send(ACCEPTED)

    async with World(Receiver(*[refuse] * 30)) as world:
        await world.worker().run_once()
        assert {event["subject"] for event in world.receiver.events.values()} == {f"c{n}" for n in range(9)} - {"c4"}
        waiting, rejected = await asyncio.to_thread(backlog, 10)
        assert (waiting, [reason for _, reason in rejected]) == (0, ["status 400"])
        world.receiver.answers.clear()
        assert await asyncio.to_thread(retry_rejected) == 1
        world.clock.advance(LEASE_SECONDS + 1)
        await world.worker().run_once()
        assert world.receiver.sums["requests"] == 9


async def test_a_receiver_that_refuses_everything_does_not_use_up_the_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "MAX_REJECTIONS", 2)
    await stored(1, *(KEY._replace(consumer=f"c{number}") for number in range(20)))
    async with World(Receiver(*[respond(422)] * 100)) as world:
        await world.worker().run_once()
        waiting, rejected = await asyncio.to_thread(backlog, 100)
        assert (waiting, len(rejected)) == (18, 2)


async def test_events_that_lago_has_already_do_not_stop_the_others() -> None:
    """Lago refuses a batch as a whole when it has one of its events."""
    keys = [KEY._replace(consumer=f"c{number}") for number in range(4)]
    await stored(1, *keys)

    async def lago(peer: Peer) -> None:
        events = json.loads(peer.request.body)["events"]
        known = [place for place, event in enumerate(events) if event["transaction_id"] in world.receiver.events]
        if known:
            details = {str(place): {"transaction_id": ["value_already_exist"]} for place in known}
            body = {"status": 422, "code": "validation_errors", "error_details": details}
            await peer.send(respond(422, json.dumps(body).encode()))
            return
        world.receiver.events |= {event["transaction_id"]: event for event in events}
        await peer.send(respond(200, b'{"events": []}'))

    async def lose(peer: Peer) -> None:
        for event in json.loads(peer.request.body)["events"][:2]:
            world.receiver.events[event["transaction_id"]] = event
        peer.reset()

    async with World(Receiver(lose, lago, lago), Format.LAGO) as world:
        worker = world.worker()
        await worker.run_once()
        world.clock.advance(2)
        await worker.run_once()
        assert [len(request["events"]) for request in world.receiver.requests] == [4, 4, 2]
        assert world.receiver.sums["requests"] == 4
        assert await asyncio.to_thread(backlog, 10) == (0, [])


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (b'{"error_details": {"1": {"transaction_id": ["value_already_exist"]}}}', {1}),
        (b'{"error_details": {"transaction_id": ["value_already_exist"]}}', {0}),
        (b'{"error_details": {"0": {"transaction_id": ["value_already_exist"]}, "1": {"code": ["no"]}}}', None),
        (b'{"error_details": {"7": {"transaction_id": ["value_already_exist"]}}}', None),
        (b'{"error_details": {}}', None),
        (b'{"error_details": ["0"]}', None),
        (b"[]", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_what_lago_says_about_duplicates(body: bytes, known: set[int] | None) -> None:
    assert duplicates(body, 3) == known


async def test_one_worker_delivers_and_another_goes_on_when_it_is_killed() -> None:
    await stored(1, KEY)
    async with World(Receiver(respond(500))) as world:
        killed, other = world.worker(), world.worker()
        await killed.run_once()
        world.clock.advance(3)
        await other.run_once()
        assert len(world.receiver.requests) == 1
        world.clock.advance(LEASE_SECONDS)
        await other.run_once()
        assert world.receiver.sums["requests"] == 1
        await other.close()
        await stored(2, KEY)
        world.clock.advance(60)
        await killed.run_once()
        assert world.receiver.sums["requests"] == 2


async def test_a_worker_that_has_lost_its_claim_sends_no_more() -> None:
    keys = [KEY._replace(consumer=f"c{number}") for number in range(BATCH_SIZE[Format.BATCH] + 1)]
    await stored(1, *keys)

    async def slow(peer: Peer) -> None:
        world.clock.advance(LEASE_SECONDS + 1)
        await other.run_once()
        world.receiver.events |= {event["id"]: event for event in json.loads(peer.request.body)}
        await peer.send(ACCEPTED)

    async with World(Receiver(slow, respond(500)), limit=30) as world:
        worker, other = world.worker(), world.worker()
        with pytest.raises(LostClaim):
            await worker.run_once()
        assert len(world.receiver.requests) == 2
        world.clock.advance(5)
        await other.run_once()
        assert world.receiver.sums["requests"] == len(keys)


@pytest.mark.parametrize("seed", range(3))
async def test_the_sum_is_right_whatever_the_receiver_and_the_workers_do(seed: int) -> None:
    rng, receiver = random.Random(seed), Receiver()
    keys = [KEY._replace(consumer=f"c{number}", day=f"2026-01-{29 + number % 3}") for number in range(6)]
    counted = 0
    async with World(receiver, rng.choice(list(Format))) as world:
        workers = [world.worker() for _ in range(2)]
        for number in range(25):
            some = rng.sample(keys, rng.randrange(4))
            await stored(number, *some)
            counted += len(some)
            receiver.answers = [rng.choice([respond(500), respond(429)]) for _ in range(rng.randrange(2))]
            receiver.loses_replies = rng.random() < 0.3
            await rng.choice(workers).run_once()
            world.clock.advance(rng.choice([5, 61, 400]))
        receiver.answers, receiver.loses_replies = [], False
        for _ in range(3):
            world.clock.advance(500)
            await workers[0].run_once()
    assert receiver.sums["requests"] == counted
    assert sum(await asyncio.to_thread(lambda: list(DailyUsage.objects.values_list("requests", flat=True)))) == counted
