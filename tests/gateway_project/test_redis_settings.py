"""Django's cache over a server of its own kind, and beside keys that are not its own."""

import ssl
from concurrent.futures import ThreadPoolExecutor
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.test import override_settings

from gateway_project.django_settings.redis import caches as cache_settings
from gateway_project.django_settings.redis import channel_layers
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink, Script
from resilience.redis_client import failure_reason
from tests.redis_cluster import RedisClusterServers
from tests.redis_server import RedisServer


def exercise(url: str) -> None:
    with override_settings(CACHES=cache_settings(url, "gw")):
        cache = caches["default"]
        cache.set_many({"a": 1, "b": [2], "c": "3"})
        assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": [2], "c": "3"}
        assert cache.incr("a") == 2
        cache.delete_many(["a", "b"])
        assert cache.get("a") is None
        cache.clear()
        assert cache.get("c") is None


def test_a_server_that_closes_connections_is_asked_twice_at_once() -> None:
    """A load balancer in front of a Redis that is away accepts connections."""
    asked = 0

    class Closing(BaseRequestHandler):
        def handle(self) -> None:
            nonlocal asked
            asked += 1

    with ThreadingTCPServer(("127.0.0.1", 0), Closing) as server, ThreadPoolExecutor(1) as thread:
        thread.submit(server.serve_forever, 0.01)
        with override_settings(CACHES=cache_settings(f"redis://127.0.0.1:{server.server_address[1]}/0", "gw")):
            assert caches["default"].get("a") is None
        server.shutdown()
    assert asked == 2


def test_clearing_the_cache_leaves_other_keys(shared_redis: RedisServer, redis_url: str) -> None:
    with shared_redis.client() as client:
        client.set("gw:breaker:crm", "kept")
        exercise(redis_url)
        assert client.get("gw:breaker:crm") == b"kept"


@pytest.mark.slow
def test_the_cache_works_over_a_cluster() -> None:
    servers = RedisClusterServers()
    try:
        servers.start()
        exercise(servers.url)
    finally:
        servers.close()


def test_the_channel_layer_connects_through_the_sentinels() -> None:
    layer = channel_layers("rediss+sentinel://u:p%40@s1,s2:5/primary/2", "gw2")["default"]["CONFIG"]
    assert layer["prefix"] == "gw2:channels"
    host = layer["hosts"][0]
    assert (host["master_name"], host["db"], host["password"]) == ("primary", 2, "p@")
    assert host["sentinels"] == [("s1", 26379), ("s2", 5)]


async def test_an_unreachable_cluster_is_away_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    url = "redis+cluster://127.0.0.1:1"
    link = RedisLink(url)
    await link.start()
    with pytest.raises(StoreUnavailable):
        await link.run(Script("return 1"), ["gw:k"])
    await link.close()
    assert caplog.text.count("Redis is unavailable") == 1
    with override_settings(CACHES=cache_settings(url, "gw")):
        assert await sync_to_async(caches["default"].get)("k", "default") == "default"


def test_the_reason_of_an_outage_names_a_refused_certificate_and_no_address() -> None:
    refused = ssl.SSLCertVerificationError("secret")
    refused.verify_message = "self-signed certificate"
    error = ConnectionError("host:6379")
    error.__cause__ = refused
    assert failure_reason(error) == "ConnectionError: self-signed certificate"
    assert failure_reason(ConnectionError("host:6379")) == "ConnectionError"
