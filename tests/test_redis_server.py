"""The Redis server of the tests itself."""

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from resilience.redis import RedisLink
from tests.redis_server import RedisServer


async def test_it_responds_to_the_stores_link(redis_url: str) -> None:
    link = RedisLink(redis_url)
    assert await link.call(lambda client: client.ping())
    await link.close()


def test_it_restarts_empty_at_the_same_url(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set("key", "value")
    own_redis.stop()
    with own_redis.client() as client, pytest.raises(RedisConnectionError):
        client.ping()
    own_redis.start()
    with Redis.from_url(own_redis.url) as client:
        assert client.get("key") is None
