"""The server that tests stand on does what they ask of it."""

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from resilience.redis import RedisLink
from tests.redis_server import RedisServer


async def test_it_answers_over_the_link_that_the_stores_use(redis_url: str) -> None:
    link = RedisLink(redis_url)
    assert await link.call(lambda client: client.ping())
    await link.close()


def test_it_comes_back_empty_at_the_same_address(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set("key", "value")
    own_redis.stop()
    with own_redis.client() as client, pytest.raises(RedisConnectionError):
        client.ping()
    own_redis.start()
    with Redis.from_url(own_redis.url) as client:
        assert client.get("key") is None
