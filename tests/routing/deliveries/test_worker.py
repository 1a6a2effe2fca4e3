"""The work of deliveries: each part once, tries that fail, and what is kept for staff. With fakes of all it uses."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from resilience.outage import StoreUnavailable
from routing.deliveries.work import Work
from routing.deliveries.worker import STOPPED, DeliveryWorker
from routing.errors import BadGateway, CircuitOpen, Forbidden, UnknownService
from routing.http import Request, Response
from routing.router.live import LiveConfiguration
from routing.router.policy import RoutePolicy, Target
from routing.router.table import RouteTable, Service
from routing.webhooks.delivery import Delivery, decode, encode
from routing.webhooks.memory import MemoryQueue
from routing.webhooks.policy import Forward, Publish, Verify
from tests.clock import FakeClock
from tests.resilience.waiting import until
from tests.routing.webhooks.providers import event, webhook

SLACK = webhook(
    Verify.SLACK,
    service="crm",
    invalidates=("channel:{event.channel}",),
    publish=Publish(topic="slack:{event.type}"),
    forward=Forward(service="crm", path="/hooks?x=1"),
    attempts=3,
)


class World:
    """A worker, and what it does. `faults` are raised by the parts of the work, by name, in this order."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.faults: dict[str, list[Exception | None]] = {}
        self.statuses: list[int] = []
        self.kept: list[Delivery] = []
        self.database_faults: list[Exception] = []
        self.counts = Counter[str]()
        self.clock = FakeClock()
        self.queue = MemoryQueue(self.clock)
        crm = Service("crm", (Target("http://127.0.0.1:1"),), policy=RoutePolicy(scopes=("reports",)))
        self.live = LiveConfiguration(RouteTable([crm, Service("other", ())], webhooks=[SLACK]))
        work = Work(self, self, self, self.live, self.count)  # type: ignore[arg-type]
        self.worker = DeliveryWorker(self.queue, work, self.live, keep_failed=self.keep, count=self.count)

    def count(self, name: str, outcome: str) -> None:
        self.counts[outcome] += 1

    def fail(self, part: str) -> None:
        faults = self.faults.get(part, [])
        if faults and (fault := faults.pop(0)) is not None:
            raise fault

    async def invalidate(self, service: str, tags: list[str] | None = None) -> int:
        self.fail("invalidate")
        self.done.append((service, tags))
        return 1

    async def publish(self, topic: str, kind: str, data: object, once: str | None = None) -> str:
        self.fail("publish")
        self.done.append((topic, kind, once))
        return "1-1"

    async def refetch(self, request: Request) -> Response:
        self.fail("forward")
        body = b"".join([chunk async for chunk in request.body or ()])  # type: ignore[union-attr]
        self.done.append((request, body))
        return Response(self.statuses.pop(0) if self.statuses else 200)

    async def keep(self, delivery: Delivery) -> None:
        if self.database_faults:
            raise self.database_faults.pop(0)
        self.kept.append(delivery)

    async def send(self, **fields: Any) -> Delivery:
        values: dict[str, Any] = {
            "id": "d1",
            "webhook": "slack",
            "received_at": 1.0,
            "host": b"gateway.test",
            "scheme": "https",
            "headers": ((b"content-type", b"application/json"), (b"x-slack-retry-num", b"1")),
            "body": event(),
        }
        delivery = Delivery(**(values | fields))
        await self.queue.add(None, encode(delivery))
        return delivery

    async def work(self, *outcomes: str) -> None:
        """Until each of these outcomes has been counted; time passes while nothing is due."""
        self.worker.start()

        def all_counted() -> bool:
            self.clock.advance(30)
            return all(self.counts[outcome] for outcome in outcomes)

        await until(all_counted)
        await until(lambda: not self.worker._entries)
        await self.worker.close()


@pytest.fixture
async def world() -> World:
    return World()


async def test_everything_is_done_once_and_forwarding_last(world: World) -> None:
    await world.send()
    await world.work("done")
    invalidation, publication, (request, body) = world.done
    assert invalidation == ("crm", ["channel:C1"])
    assert publication == ("slack:message", "webhook", "d1:0")
    assert (request.method, request.path, request.query) == ("POST", b"/api/v1/crm/hooks", b"x=1")
    assert (request.scheme, body) == ("https", event())
    fields = dict(request.headers)
    assert fields[b"host"] == b"gateway.test"
    assert fields[b"idempotency-key"] == b"d1"
    assert fields[b"x-slack-retry-num"] == b"1"
    assert request.caller.id == "webhook:slack"
    assert request.caller.may_use("crm", ("reports",))
    assert not request.caller.may_use("other", ())
    assert await world.queue.depth() == 0
    assert world.kept == []


async def test_without_a_service_every_one_is_invalidated(world: World) -> None:
    hook = webhook(Verify.SLACK, invalidates=("channel:{event.channel}",))
    world.live.table = RouteTable(world.live.table.services.values(), webhooks=[hook])
    await world.send()
    await world.work("done")
    assert world.done == [("crm", ["channel:C1"]), ("other", ["channel:C1"])]


@pytest.mark.parametrize(
    "fault", [BadGateway("reset"), CircuitOpen("open"), StoreUnavailable("away"), ValueError("a bug")]
)
async def test_a_try_that_fails_is_repeated_for_what_is_not_done(world: World, fault: Exception) -> None:
    world.faults["forward"] = [fault]
    await world.send()
    await world.work("done")
    parts = [len(part) for part in world.done]
    repeated = isinstance(fault, ValueError)  # nobody knows what was done
    assert parts == ([2, 3, 2, 3, 2] if repeated else [2, 3, 2])
    assert world.counts["retried"] == 1
    assert world.kept == []


@pytest.mark.parametrize("status", [500, 503, 429, 408])
async def test_what_fails_at_every_try_is_kept_for_staff(world: World, status: int) -> None:
    world.statuses = [status] * 3
    await world.send()
    await world.work("failed")
    (kept,) = world.kept
    assert (kept.tries, kept.done) == (3, ("invalidate", "publish"))
    assert kept.error == f"forward: the service responded with status {status}"
    assert [len(part) for part in world.done] == [2, 3, 2, 2, 2]
    assert await world.queue.depth() == 0


@pytest.mark.parametrize("status", [400, 401, 404, 422])
async def test_what_the_service_refuses_is_not_tried_again(world: World, status: int) -> None:
    world.statuses = [status]
    await world.send()
    await world.work("failed")
    assert [kept.tries for kept in world.kept] == [1]


@pytest.mark.parametrize("fault", [UnknownService("no such service"), Forbidden("scopes")])
async def test_what_the_gateway_refuses_is_not_tried_again(world: World, fault: Exception) -> None:
    world.faults["forward"] = [fault]
    await world.send()
    await world.work("failed")
    assert [kept.tries for kept in world.kept] == [1]


async def test_a_replay_does_what_is_not_done(world: World) -> None:
    await world.send(done=("invalidate", "publish"))
    await world.work("done")
    assert [len(part) for part in world.done] == [2]


async def test_a_webhook_that_was_removed_meanwhile_has_failed(world: World) -> None:
    await world.send(webhook="gone")
    await world.work("failed")
    assert "not configured" in world.kept[0].error


async def test_without_the_database_a_failed_delivery_stays_in_the_queue(world: World) -> None:
    world.statuses = [400] * 2
    world.database_faults = [OSError("away")]
    await world.send()
    await world.work("failed")
    assert len(world.kept) == 1


async def test_a_malformed_entry_is_dropped(world: World) -> None:
    await world.queue.add(None, b"no delivery")
    await world.send()
    await world.work("done")
    assert await world.queue.depth() == 0


async def test_what_waits_at_the_end_is_kept_for_staff(world: World) -> None:
    await world.send()
    world.faults["forward"] = [BadGateway("reset")] * 10
    world.worker.start()
    await until(lambda: bool(world.counts["retried"]))
    await world.send(id="d2")
    await world.worker.close()
    errors = {kept.id: kept.error for kept in world.kept}
    assert errors["d1"].startswith("forward: ")
    assert errors.get("d2", STOPPED).startswith(("forward: ", STOPPED))


async def test_many_deliveries_are_worked_on_at_once_and_a_slow_one_delays_no_other(world: World) -> None:
    gate = asyncio.Event()
    original = world.publish

    async def publish(topic: str, kind: str, data: object, once: str | None = None) -> str:
        if once == "slow:0":
            await gate.wait()
        return await original(topic, kind, data, once)

    world.worker._work._publisher.publish = publish  # type: ignore[method-assign]
    await world.send(id="slow")
    for number in range(500):
        await world.send(id=str(number))
    world.worker.start()
    await until(lambda: world.counts["done"] == 500)
    gate.set()
    await until(lambda: world.counts["done"] == 501)
    await world.worker.close()
    assert len({request.fields[b"idempotency-key"] for request, *_ in filter(_is_forwarded, world.done)}) == 501


def _is_forwarded(part: Any) -> bool:
    return isinstance(part[0], Request)


def test_a_delivery_survives_the_queue() -> None:
    delivery = Delivery("1", "slack", 1.5, b"h", "http", ((b"a", b"\xff"),), b"\x00\xff", ("invalidate",), 2, "x")
    assert decode(encode(delivery)) == delivery
    assert delivery.failed((), "y" * 9_000).error == "y" * 500
