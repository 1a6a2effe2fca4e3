"""One worker: what its subscribers get, and how their connections end."""

import asyncio

import msgspec
import pytest

from routing.authentication.api_keys import ApiKeys
from routing.realtime.event import Frame
from routing.realtime.event_id import format_event_id
from routing.realtime.hub import WAKE_SECONDS, ConnectionLimitExceeded
from routing.realtime.limits import MAX_QUEUED_EVENTS, Limits
from routing.realtime.subscriber import MAX_LAGGING_EVENTS
from routing.router.table import RouteTable
from tests.resilience.waiting import until
from tests.routing.realtime.world import CREDENTIAL, KEY, Worker


async def test_a_subscriber_gets_what_is_published_in_order() -> None:
    async with Worker() as worker:
        client = worker.client()
        await client.send(type="subscribe", topics=["news", "caller:key:other"])
        said = await client.read()
        assert (said["type"], said["topics"], said["refused"][0]["code"]) == ("subscribed", ["news"], "forbidden")
        for number in range(5):
            await worker.realtime.publish("news", "tick", {"n": number})
        await worker.realtime.publish("elsewhere", "tick", {})
        assert await client.events(5) == [{"n": number} for number in range(5)]


async def test_an_event_is_encoded_once_for_all_who_hear_by_the_same_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Worker() as worker:
        clients = [worker.client(["news"]) for _ in range(50)]
        await asyncio.sleep(0.1)
        for client in clients:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await client.session.subscriber.next()
        await worker.realtime.publish("news", "tick", 1)
        frames = {id(await client.session.subscriber.next()) for client in clients}
        assert len(frames) == 1


async def test_a_change_of_a_circuit_and_an_invalidation_reach_those_they_concern() -> None:
    async with Worker() as worker:
        client = worker.client(["service:crm", "resource:/api/v1/crm/contacts"])
        worker.realtime.circuit_changed("crm", "CLOSED", "OPEN", "five failures")
        worker.realtime.invalidated("crm", "crm")
        worker.realtime.invalidated("app", "no service")
        circuit, taken = await client.read(), await client.read()
        assert (circuit["type"], circuit["topic"]) == ("circuit", "service:crm")
        assert circuit["data"] == {"service": "crm", "before": "CLOSED", "after": "OPEN"}
        assert (taken["type"], taken["topic"], taken["also"]) == (
            "invalidated",
            "resource:/api/v1/crm/contacts",
            ["service:crm"],
        )


@pytest.mark.parametrize("resumes", ["before", "after", "with"])
async def test_after_a_break_nothing_is_missing_and_nothing_comes_twice(resumes: str) -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        await worker.realtime.publish("news", "tick", 0)
        last_id = (await client.read())["id"]
        client.leave()
        for number in range(1, 400):
            await worker.realtime.publish("news", "tick", number)
        again = worker.client()
        if resumes == "before":
            await again.send(type="resume", last_id=last_id)
        await again.send(type="subscribe", topics=["news"], **({"last_id": last_id} if resumes == "with" else {}))
        await worker.realtime.publish("news", "tick", 400)
        if resumes == "after":
            await again.send(type="resume", last_id=last_id)
        await worker.realtime.publish("news", "tick", 401)
        assert await again.events(401) == list(range(1, 402))
        await worker.realtime.publish("news", "tick", 402)
        assert await again.events(1) == [402]


async def test_resuming_late_brings_only_what_was_not_pushed() -> None:
    async with Worker() as worker:
        first = await worker.realtime.publish("news", "tick", 0)
        await worker.realtime.publish("news", "tick", 1)
        client = worker.client(["news"])
        await worker.realtime.publish("news", "tick", 2)
        assert await client.events(1) == [2]
        await client.send(type="resume", last_id=first)
        await worker.realtime.publish("news", "tick", 3)
        assert await client.events(2) == [1, 3]


async def test_what_another_worker_has_already_told_is_not_told_again() -> None:
    """This worker is behind the one the client comes from."""
    async with Worker() as worker:
        worker.clock.advance(1)
        last = (int(worker.clock() * 1_000), 1)
        client = worker.client()
        await client.send(type="subscribe", topics=["news"], last_id=format_event_id(last))
        for number in range(4):  # ids ...-0, ...-1, ...-2, ...-3
            await worker.realtime.publish("news", "tick", number)
        assert await client.events(2) == [2, 3]


async def test_too_late_is_said_so() -> None:
    async with Worker() as worker:
        old = await worker.realtime.publish("news", "tick", 0)
        await worker.realtime.publish("news", "tick", 1)
        worker.clock.advance(301)
        worker.realtime.tick()
        client = worker.client(["news"])
        await client.send(type="resume", last_id=old)
        assert (await client.read())["type"] == "gap"
        await client.send(type="resume", last_id="99999999999999-0")
        assert (await client.read())["type"] == "gap"
        await client.send(type="resume", last_id="nonsense")
        assert (await client.read())["code"] == "bad_message"


async def test_a_reader_that_stops_is_told_and_dropped_and_harms_nobody() -> None:
    async with Worker() as worker:
        stopped, reading = worker.client(["news"]), worker.client(["news"])
        assert await next_event(worker, stopped, reading) == 0
        for number in range(1, MAX_QUEUED_EVENTS + 10):
            await worker.realtime.publish("news", "tick", number)
            assert await reading.events(1) == [number]
        assert len(stopped.session.subscriber._queue) <= 1
        slow = await stopped.read()
        assert slow["type"] == "slow"
        assert (await stopped.end()).code == 4408
        back = worker.client()
        await back.send(type="subscribe", topics=["news"], last_id=slow["last_id"])
        assert await back.events(MAX_QUEUED_EVENTS + 9) == list(range(1, MAX_QUEUED_EVENTS + 10))


async def next_event(worker: Worker, *clients: object) -> int:
    """One event to each, so that all of them are past their beginning."""
    await worker.realtime.publish("news", "tick", 0)
    for client in clients:
        assert await client.events(1) == [0]  # type: ignore[attr-defined]
    return 0


async def test_one_that_takes_nothing_at_all_is_told_and_then_cut() -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        subscriber = client.session.subscriber
        subscriber.sending_since = worker.timer()
        for seconds in (11, 1, 9):
            worker.timer.advance(seconds)
            worker.realtime.tick()
            assert subscriber.closing is not None
            assert (subscriber.closing.code, client.cut) == (4408, False)
        worker.timer.advance(2)
        worker.realtime.tick()
        assert client.cut


class Server:
    """Takes a message as soon as it is handed over, and sends it when told to."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.sending: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def sink(self, text: str) -> "asyncio.Future[None]":
        self.taken.append(text)
        self.sending = asyncio.get_running_loop().create_future()
        return self.sending


async def test_a_server_that_takes_events_at_once_gets_them_so_one_at_a_time() -> None:
    async with Worker() as worker:
        client, server = worker.client(["news"]), Server()
        subscriber = client.session.subscriber
        assert await next_event(worker, client) == 0
        subscriber.sink = server.sink
        await worker.realtime.publish("news", "tick", "nobody waits for it")
        assert server.taken == []
        assert await client.events(1) == ["nobody waits for it"]
        waiting = asyncio.create_task(subscriber.next())
        await asyncio.sleep(0)
        await worker.realtime.publish("news", "tick", "at once")
        assert [msgspec.json.decode(text)["data"] for text in server.taken] == ["at once"]
        await worker.realtime.publish("news", "tick", "behind it")
        await asyncio.sleep(WAKE_SECONDS * 3)
        assert len(server.taken) == 1
        server.sending.set_result(None)
        await until(lambda: len(server.taken) == 2)
        assert not waiting.done()
        for number in range(MAX_LAGGING_EVENTS + 1):
            await worker.realtime.publish("news", "tick", number)
        async with asyncio.timeout(20):
            first = await waiting
        assert isinstance(first, Frame)
        assert msgspec.json.decode(first.text)["data"] == 0
        server.sending.set_result(None)
        await subscriber.drain()
        assert await client.events(MAX_LAGGING_EVENTS) == list(range(1, MAX_LAGGING_EVENTS + 1))
        assert [msgspec.json.decode(text)["data"] for text in server.taken] == ["at once", "behind it"]


async def test_one_whose_last_event_does_not_go_out_is_cut_and_one_whose_did_is_not() -> None:
    async with Worker() as worker:
        client, server = worker.client(["news"]), Server()
        subscriber = client.session.subscriber
        assert await next_event(worker, client) == 0
        subscriber.sink = server.sink
        waiting = asyncio.create_task(subscriber.next())
        await asyncio.sleep(0)
        for is_gone in (True, False):
            subscriber.sending_since = worker.timer()
            await worker.realtime.publish("news", "tick", 1)
            if is_gone:
                server.sending.set_result(None)
            worker.timer.advance(11)
            worker.realtime.tick()
            assert (subscriber.closing is None) is is_gone
        async with asyncio.timeout(20):
            assert "slow" in str(await waiting)


async def test_sixty_one_messages_in_a_minute_are_too_many() -> None:
    async with Worker() as worker:
        client = worker.client()
        for _ in range(61):
            await client.send(type="ping")
        assert (await client.end()).code == 4429


@pytest.mark.parametrize("message", ["x" * 5_000, '{"type":"ping"}' + " " * 4_100, "x" * 30_000])
async def test_a_message_too_long_ends_the_connection(message: str) -> None:
    async with Worker() as worker:
        client = worker.client()
        await client.session.handle(message)
        assert (await client.end()).code == 1009


@pytest.mark.parametrize("message", ["nonsense", b"{}", None, '{"type":"ping","x":1}'])
async def test_a_message_not_understood_does_not(message: str | bytes | None) -> None:
    async with Worker() as worker:
        client = worker.client()
        await client.session.handle(message)
        assert (await client.read())["code"] == "bad_message"
        await client.send(type="ping")
        assert (await client.read())["type"] == "pong"


async def test_a_first_message_may_authenticate_and_must_within_five_seconds() -> None:
    async with Worker() as worker:
        client, late = worker.client(anonymous=True), worker.client(anonymous=True)
        await client.send(type="subscribe", topics=["news"])
        assert (await client.read())["code"] == "unauthenticated"
        await client.send(type="auth", token=KEY.key)
        assert (await client.read())["caller"] == f"key:{KEY.prefix}"
        await client.send(type="subscribe", topics=["news"])
        assert (await client.read())["topics"] == ["news"]
        worker.timer.advance(6)
        worker.realtime.tick()
        assert (await late.end()).code == 4401
        assert client.session.subscriber.closing is None


async def test_a_bad_token_ends_it() -> None:
    async with Worker() as worker:
        for token in ("junk", "é", "x" * 17_000):
            client = worker.client(anonymous=True)
            await client.send(type="auth", token=token)
            assert (await client.end()).code == 4401
            client.leave()


async def test_a_revoked_key_ends_its_connections() -> None:
    async with Worker() as worker:
        client, other = worker.client(["news"]), worker.client(["news"])
        worker.live.keys = ApiKeys()
        worker.realtime.tick()
        assert (await client.end()).code == (await other.end()).code == 4401


async def test_a_revocation_told_over_the_channel_layer_does_not_wait() -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        worker.realtime.disconnect_caller("key:other")
        assert client.session.subscriber.closing is None
        worker.realtime.disconnect_caller(f"key:{KEY.prefix}")
        assert (await client.end()).code == 4401


async def test_a_service_taken_away_takes_its_topics_along() -> None:
    async with Worker() as worker:
        client = worker.client(["service:crm", "news"])
        worker.live.table = RouteTable()
        worker.realtime.tick()
        said = await client.read()
        assert (said["type"], said["topics"]) == ("unsubscribed", ["service:crm"])
        await worker.realtime.publish("service:crm", "tick", 1)
        await worker.realtime.publish("news", "tick", 2)
        assert await client.events(1) == [2]


async def test_connections_are_bounded_for_each_caller_and_address() -> None:
    limits = Limits(per_api_key=2, unauthenticated_per_address=1)
    async with Worker(limits=limits) as worker:
        first = worker.client()
        worker.client()
        with pytest.raises(ConnectionLimitExceeded):
            worker.client()
        first.leave()
        worker.client()
        anonymous = worker.client(anonymous=True)
        with pytest.raises(ConnectionLimitExceeded):
            worker.client(anonymous=True)
        await anonymous.session.authenticate(CREDENTIAL.text)
        assert (await anonymous.end()).code == 4429


async def test_topics_are_bounded_for_each_connection() -> None:
    async with Worker(limits=Limits(topics=2)) as worker:
        client = worker.client()
        await client.send(type="subscribe", topics=["a", "b", "c"])
        said = await client.read()
        assert said["topics"] == ["a", "b"]
        assert said["refused"][0]["code"] == "too_many_topics"


async def test_a_quiet_connection_hears_that_all_is_well_and_one_without_topics_ends() -> None:
    async with Worker() as worker:
        client, idle = worker.client(["news"]), worker.client()
        await asyncio.sleep(0.1)
        worker.timer.advance(26)
        await worker.realtime.publish("elsewhere", "tick", 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.session.subscriber.next()
        worker.realtime.tick()
        beat = await client.read()
        assert beat == {"type": "heartbeat", "last_id": format_event_id(worker.realtime.hub.history.last)}
        worker.timer.advance(40)
        worker.realtime.tick()
        assert (await idle.end()).code == 4408


async def test_a_restart_is_told_with_a_time_to_come_back() -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        worker.realtime.begin_shutdown()
        said = await client.read()
        assert said["type"] == "restart"
        assert 0 <= said["retry_in"] <= 5
        assert (await client.end()).code == 1012
