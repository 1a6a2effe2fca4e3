"""One worker: what its subscribers receive, and how their connections are closed."""

import asyncio

import msgspec
import pytest

from routing.authentication.api_keys import ApiKeys, KeyRecord
from routing.observability.events import QuotaEvent
from routing.realtime.event import Frame
from routing.realtime.event_id import format_event_id
from routing.realtime.hub import WAKE_SECONDS, ConnectionLimitExceeded
from routing.realtime.limits import MAX_QUEUED_EVENTS, Limits
from routing.realtime.subscriber import MAX_LAGGING_EVENTS
from routing.router.table import RouteTable
from tests.resilience.waiting import until
from tests.routing.realtime.world import CREDENTIAL, KEY, Worker


async def test_a_subscriber_gets_events_in_order() -> None:
    async with Worker() as worker:
        client = worker.client()
        await client.send(type="subscribe", topics=["news", "caller:key:other"])
        message = await client.read()
        assert (message["type"], message["topics"], message["refused"][0]["code"]) == (
            "subscribed",
            ["news"],
            "forbidden",
        )
        for number in range(5):
            await worker.realtime.publish("news", "tick", {"n": number})
        await worker.realtime.publish("elsewhere", "tick", {})
        assert await client.events(5) == [{"n": number} for number in range(5)]


async def test_a_publication_on_another_spelling_of_a_resource_reaches_its_subscribers() -> None:
    async with Worker() as worker:
        client = worker.client(["resource:/api/v1/crm/contacts"])
        for topic in ("/con%74acts", "/contacts/", "/contacts"):
            await worker.realtime.publish(f"resource:/api/v1/crm{topic}", "moved", topic)
            message = await client.read()
            assert (message["topic"], message["data"]) == ("resource:/api/v1/crm/contacts", topic)


async def test_an_event_is_encoded_once_for_all_subscribers_with_the_same_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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


async def test_operators_learn_of_used_up_quotas_and_of_keys_that_expire() -> None:
    async with Worker() as worker:
        record = KeyRecord(prefix=KEY.prefix, digest=KEY.digest, name="ours", scopes=frozenset({"metrics:read"}), row=7)
        worker.live.keys = ApiKeys([record])
        client = worker.client(["gateway:keys", "gateway:quotas"])
        own = worker.client([f"caller:key:{KEY.prefix}"])
        worker.realtime.key_expires(KEY.prefix, 7, 1_700_000_000.0)
        worker.realtime.quota_reached(QuotaEvent("key:7|key|month", 80, 8, 10, 1_800_000_000))
        expiry, quota = await client.read(), await client.read()
        assert (await own.read())["data"] == expiry["data"] == {"prefix": KEY.prefix, "days": 7, "expires": 1.7e9}
        assert (quota["type"], quota["topic"]) == ("quota", "gateway:quotas")
        named = {"owner": "key", "name": KEY.prefix, "quota": "key-month"}
        assert quota["data"] == named | {"percent": 80, "used": 8, "limit": 10, "resets": 1_800_000_000}


async def test_circuit_changes_and_invalidations_reach_their_subscribers() -> None:
    async with Worker() as worker:
        client = worker.client(["service:crm", "resource:/api/v1/crm/contacts"])
        worker.realtime.circuit_changed("crm", "CLOSED", "OPEN", "five failures")
        worker.realtime.invalidated("crm", "crm")
        worker.realtime.invalidated("app", "no service")
        circuit, sent = await client.read(), await client.read()
        assert (circuit["type"], circuit["topic"]) == ("circuit", "service:crm")
        assert circuit["data"] == {"service": "crm", "before": "CLOSED", "after": "OPEN"}
        assert (sent["type"], sent["topic"], sent["also"]) == (
            "invalidated",
            "resource:/api/v1/crm/contacts",
            ["service:crm"],
        )


@pytest.mark.parametrize("resumes", ["before", "after", "with"])
async def test_after_a_reconnect_every_event_is_received_exactly_once(resumes: str) -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        await worker.realtime.publish("news", "tick", 0)
        last_id = (await client.read())["id"]
        client.leave()
        for number in range(1, 400):
            await worker.realtime.publish("news", "tick", number)
        resumed = worker.client()
        if resumes == "before":
            await resumed.send(type="resume", last_id=last_id)
        await resumed.send(type="subscribe", topics=["news"], **({"last_id": last_id} if resumes == "with" else {}))
        await worker.realtime.publish("news", "tick", 400)
        if resumes == "after":
            await resumed.send(type="resume", last_id=last_id)
        await worker.realtime.publish("news", "tick", 401)
        assert await resumed.events(401) == list(range(1, 402))
        await worker.realtime.publish("news", "tick", 402)
        assert await resumed.events(1) == [402]


async def test_a_late_resume_replays_only_events_that_were_not_pushed() -> None:
    async with Worker() as worker:
        first = await worker.realtime.publish("news", "tick", 0)
        await worker.realtime.publish("news", "tick", 1)
        client = worker.client(["news"])
        await worker.realtime.publish("news", "tick", 2)
        assert await client.events(1) == [2]
        await client.send(type="resume", last_id=first)
        await worker.realtime.publish("news", "tick", 3)
        assert await client.events(2) == [1, 3]


async def test_events_already_received_from_another_worker_are_not_sent_again() -> None:
    """This worker lags behind the one to which the client was connected."""
    async with Worker() as worker:
        worker.clock.advance(1)
        last = (int(worker.clock() * 1_000), 1)
        client = worker.client()
        await client.send(type="subscribe", topics=["news"], last_id=format_event_id(last))
        for number in range(4):  # ids ...-0, ...-1, ...-2, ...-3
            await worker.realtime.publish("news", "tick", number)
        assert await client.events(2) == [2, 3]


async def test_resuming_from_an_expired_or_invalid_id_is_answered_with_a_gap_or_an_error() -> None:
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


async def test_a_client_that_stops_reading_is_notified_and_closed_and_affects_no_other() -> None:
    async with Worker() as worker:
        stopped, reading = worker.client(["news"]), worker.client(["news"])
        assert await deliver_first_event(worker, stopped, reading) == 0
        for number in range(1, MAX_QUEUED_EVENTS + 10):
            await worker.realtime.publish("news", "tick", number)
            assert await reading.events(1) == [number]
        assert len(stopped.session.subscriber._queue) <= 1
        slow = await stopped.read()
        assert slow["type"] == "slow"
        assert (await stopped.wait_closed()).code == 4408
        reconnected = worker.client()
        await reconnected.send(type="subscribe", topics=["news"], last_id=slow["last_id"])
        assert await reconnected.events(MAX_QUEUED_EVENTS + 9) == list(range(1, MAX_QUEUED_EVENTS + 10))


async def deliver_first_event(worker: Worker, *clients: object) -> int:
    """Send one event to each client, after which events are pushed."""
    await worker.realtime.publish("news", "tick", 0)
    for client in clients:
        assert await client.events(1) == [0]  # type: ignore[attr-defined]
    return 0


async def test_a_connection_that_takes_no_data_is_closed_and_then_aborted() -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        subscriber = client.session.subscriber
        subscriber.sending_since = worker.timer()
        for seconds in (11, 1, 9):
            worker.timer.advance(seconds)
            worker.realtime.tick()
            assert subscriber.closing is not None
            assert (subscriber.closing.code, client.is_aborted) == (4408, False)
        worker.timer.advance(2)
        worker.realtime.tick()
        assert client.is_aborted


class Server:
    """Begins to send a message when it is given to the sink, and completes it when the future is resolved."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.in_flight: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def sink(self, text: str) -> "asyncio.Future[None]":
        self.sent.append(text)
        self.in_flight = asyncio.get_running_loop().create_future()
        return self.in_flight


async def test_a_sink_gets_events_directly_and_one_at_a_time() -> None:
    async with Worker() as worker:
        client, server = worker.client(["news"]), Server()
        subscriber = client.session.subscriber
        assert await deliver_first_event(worker, client) == 0
        subscriber.sink = server.sink
        await worker.realtime.publish("news", "tick", "no writer waits")
        assert server.sent == []
        assert await client.events(1) == ["no writer waits"]
        waiting = asyncio.create_task(subscriber.next())
        await asyncio.sleep(0)
        await worker.realtime.publish("news", "tick", "sent directly")
        assert [msgspec.json.decode(text)["data"] for text in server.sent] == ["sent directly"]
        await worker.realtime.publish("news", "tick", "queued")
        await asyncio.sleep(WAKE_SECONDS * 3)
        assert len(server.sent) == 1
        server.in_flight.set_result(None)
        await until(lambda: len(server.sent) == 2)
        assert not waiting.done()
        for number in range(MAX_LAGGING_EVENTS + 1):
            await worker.realtime.publish("news", "tick", number)
        async with asyncio.timeout(20):
            first = await waiting
        assert isinstance(first, Frame)
        assert msgspec.json.decode(first.text)["data"] == 0
        server.in_flight.set_result(None)
        await subscriber.drain()
        assert await client.events(MAX_LAGGING_EVENTS) == list(range(1, MAX_LAGGING_EVENTS + 1))
        assert [msgspec.json.decode(text)["data"] for text in server.sent] == ["sent directly", "queued"]


async def test_a_connection_is_stalled_only_if_its_last_event_has_not_been_sent() -> None:
    async with Worker() as worker:
        client, server = worker.client(["news"]), Server()
        subscriber = client.session.subscriber
        assert await deliver_first_event(worker, client) == 0
        subscriber.sink = server.sink
        waiting = asyncio.create_task(subscriber.next())
        await asyncio.sleep(0)
        for is_sent in (True, False):
            subscriber.sending_since = worker.timer()
            await worker.realtime.publish("news", "tick", 1)
            if is_sent:
                server.in_flight.set_result(None)
            worker.timer.advance(11)
            worker.realtime.tick()
            assert (subscriber.closing is None) is is_sent
        async with asyncio.timeout(20):
            assert "slow" in str(await waiting)


async def test_sixty_one_messages_in_a_minute_close_the_connection() -> None:
    async with Worker() as worker:
        client = worker.client()
        for _ in range(61):
            await client.send(type="ping")
        assert (await client.wait_closed()).code == 4429


@pytest.mark.parametrize("message", ["x" * 5_000, '{"type":"ping"}' + " " * 4_100, "x" * 30_000])
async def test_a_message_that_is_too_long_closes_the_connection(message: str) -> None:
    async with Worker() as worker:
        client = worker.client()
        await client.session.handle(message)
        assert (await client.wait_closed()).code == 1009


@pytest.mark.parametrize("message", ["nonsense", b"{}", None, '{"type":"ping","x":1}'])
async def test_a_malformed_message_does_not_close_the_connection(message: str | bytes | None) -> None:
    async with Worker() as worker:
        client = worker.client()
        await client.session.handle(message)
        assert (await client.read())["code"] == "bad_message"
        await client.send(type="ping")
        assert (await client.read())["type"] == "pong"


async def test_a_client_may_authenticate_by_a_message_within_five_seconds() -> None:
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
        assert (await late.wait_closed()).code == 4401
        assert client.session.subscriber.closing is None


async def test_an_invalid_token_closes_the_connection() -> None:
    async with Worker() as worker:
        for token in ("junk", "é", "x" * 17_000):
            client = worker.client(anonymous=True)
            await client.send(type="auth", token=token)
            assert (await client.wait_closed()).code == 4401
            client.leave()


async def test_a_revoked_key_closes_its_connections() -> None:
    async with Worker() as worker:
        client, other = worker.client(["news"]), worker.client(["news"])
        worker.live.keys = ApiKeys()
        worker.realtime.tick()
        assert (await client.wait_closed()).code == (await other.wait_closed()).code == 4401


async def test_a_revocation_over_the_channel_layer_takes_effect_at_once() -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        worker.realtime.disconnect_caller("key:other")
        assert client.session.subscriber.closing is None
        worker.realtime.disconnect_caller(f"key:{KEY.prefix}")
        assert (await client.wait_closed()).code == 4401


async def test_removing_a_service_unsubscribes_its_topics() -> None:
    async with Worker() as worker:
        client = worker.client(["service:crm", "news"])
        worker.live.table = RouteTable()
        worker.realtime.tick()
        message = await client.read()
        assert (message["type"], message["topics"]) == ("unsubscribed", ["service:crm"])
        await worker.realtime.publish("service:crm", "tick", 1)
        await worker.realtime.publish("news", "tick", 2)
        assert await client.events(1) == [2]


async def test_connections_are_limited_per_caller_and_address() -> None:
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
        assert (await anonymous.wait_closed()).code == 4429


async def test_topics_are_limited_per_connection() -> None:
    async with Worker(limits=Limits(topics=2)) as worker:
        client = worker.client()
        await client.send(type="subscribe", topics=["a", "b", "c"])
        message = await client.read()
        assert message["topics"] == ["a", "b"]
        assert message["refused"][0]["code"] == "too_many_topics"


async def test_a_quiet_connection_gets_heartbeats_and_one_without_topics_is_closed() -> None:
    async with Worker() as worker:
        client, idle = worker.client(["news"]), worker.client()
        await asyncio.sleep(0.1)
        worker.timer.advance(26)
        await worker.realtime.publish("elsewhere", "tick", 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.session.subscriber.next()
        worker.realtime.tick()
        heartbeat = await client.read()
        assert heartbeat == {"type": "heartbeat", "last_id": format_event_id(worker.realtime.hub.history.last)}
        worker.timer.advance(40)
        worker.realtime.tick()
        assert (await idle.wait_closed()).code == 4408


async def test_a_restart_is_announced_with_a_delay_for_reconnecting() -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        worker.realtime.begin_shutdown()
        message = await client.read()
        assert message["type"] == "restart"
        assert 0 <= message["retry_in"] <= 5
        assert (await client.wait_closed()).code == 1012


async def test_a_new_subscriber_waits_briefly_for_a_resume_and_then_receives_events_live() -> None:
    async with Worker() as worker:
        client = worker.client(["news"])
        assert repr(client.session.subscriber) == "<Subscriber GRACE topics=1 queued=0>"
        await worker.realtime.publish("news", "tick", 1)
        assert await client.events(1) == [1]
        assert repr(client.session.subscriber) == "<Subscriber LIVE topics=1 queued=0>"
