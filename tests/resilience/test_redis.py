"""The link to Redis during outages, refusals and shutdown."""

import asyncio

import pytest

from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.redis_feed import RECONNECT_SECONDS
from tests.redis_server import RedisServer
from tests.resilience.waiting import until


async def test_calls_fail_at_once_after_the_first_failure_and_succeed_after_a_restart(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    await link.start()
    own_redis.stop()
    with pytest.raises(StoreUnavailable):
        await link.call(lambda client: client.ping())
    assert link.unavailable
    called = []
    with pytest.raises(StoreUnavailable, match="unavailable"):
        await link.call(lambda client: called.append(client) or client.ping())  # type: ignore[func-returns-value]
    assert called == []
    own_redis.start()
    await until(lambda: not link.unavailable)
    assert await link.call(lambda client: client.ping())
    await link.close()


@pytest.mark.redis_timeout
async def test_a_server_that_accepts_connections_but_never_responds_is_unavailable(own_redis: RedisServer) -> None:
    link = RedisLink(own_redis.url)
    await link.start()
    own_redis.pause()
    with pytest.raises(StoreUnavailable):
        await link.call(lambda client: client.ping())
    assert link.unavailable
    own_redis.resume()
    await until(lambda: not link.unavailable)
    await link.close()


async def test_the_feed_reports_when_it_is_established_and_lost(own_redis: RedisServer) -> None:
    link, events = RedisLink(own_redis.url), list[str]()
    link.feed.listen("news", lambda message: None)
    link.feed.subscribe(on_up=lambda: events.append("up"), on_down=lambda: events.append("down"))
    await link.start()
    await until(lambda: events == ["up"])
    own_redis.stop()
    await until(lambda: events == ["up", "down"])
    own_redis.start()
    await until(lambda: events == ["up", "down", "up"])
    await link.close()


async def test_a_feed_is_alive_again_once_its_connection_was_cut(own_redis: RedisServer) -> None:
    """As sentinels do in a failover: the client connects anew by itself. All channels count, late ones too."""
    link, received = RedisLink(own_redis.url), list[bytes]()
    link.feed.listen("early", received.append)
    await link.start()
    await until(lambda: link.feed.alive)
    link.feed.listen("late", received.append)
    with own_redis.client() as client:
        for _ in range(3):
            await until(lambda: client.publish("gw:late", "news") == 1)
            await until(lambda: bool(received))
            received.clear()
            assert await link.call(lambda client: client.client_kill_filter(_type="pubsub")) == 1
            await until(lambda: link.feed.alive)
    await link.close()


async def test_an_outage_of_the_feed_is_logged_once(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """It tries twice a second: an outage of an hour would fill the log."""
    caplog.set_level("INFO", "resilience.redis_feed")
    link = RedisLink(own_redis.url)
    link.feed.listen("news", lambda message: None)
    await link.start()
    for count in (1, 2):
        await until(lambda: link.feed.alive)
        own_redis.stop()
        await asyncio.sleep(2.5 * RECONNECT_SECONDS)
        assert caplog.text.count("the feed from Redis is disconnected") == count
        own_redis.start()
    await link.close()


async def test_a_listener_that_fails_does_not_end_the_feed(redis_url: str) -> None:
    link, received = RedisLink(redis_url), list[int]()
    link.feed.listen("news", lambda message: received.append(int(message)))
    await link.start()
    await until(lambda: link.feed.alive)
    await link.publish("news", b"not a number")
    await link.publish("news", b"7")
    await until(lambda: received == [7])
    await link.close()


async def test_a_refused_command_is_not_an_outage(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    link = RedisLink(own_redis.url)
    await link.call(lambda client: client.config_set("maxmemory", 1))
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await link.call(lambda client: client.set("key", "value"))
    assert not link.unavailable
    assert caplog.text.count("refused") == 1
    assert await link.call(lambda client: client.ping())
    await link.close()


async def test_a_cancelled_call_leaves_no_response_for_the_next(redis_url: str) -> None:
    link = RedisLink(redis_url)
    for number in range(50):
        call = asyncio.ensure_future(link.call(lambda client: client.echo("cancelled")))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        response = await link.call(lambda client, number=number: client.echo(str(number)))  # type: ignore[misc]
        assert response == str(number).encode()
    await link.close()


async def test_closing_waits_for_calls_in_progress_and_refuses_new_ones(redis_url: str) -> None:
    link = RedisLink(redis_url)
    await link.start()
    in_progress = asyncio.create_task(link.call(lambda client: client.blpop("nothing comes", 0.2)))
    await asyncio.sleep(0.05)
    await link.close()
    assert in_progress.done()
    assert await in_progress is None
    with pytest.raises(StoreUnavailable):
        await link.call(lambda client: client.ping())
    await link.close()


async def test_closing_ends_a_feed_that_is_reconnecting(redis_url: str, shared_redis: RedisServer) -> None:
    for number in range(30):
        link = RedisLink(redis_url)
        link.feed.listen("news", lambda _: None)
        await link.start()
        await until(lambda link=link: link.feed.alive)  # type: ignore[misc]
        with shared_redis.client() as outside:
            outside.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await asyncio.sleep(number % 10 / 1_000)
        async with asyncio.timeout(20):
            await link.close()
