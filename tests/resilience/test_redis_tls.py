"""Redis by TLS alone, with a private CA and certificates on both sides: one server, sentinels, and a cluster."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from asgiref.sync import sync_to_async
from channels.layers import channel_layers as registry
from django.conf import settings
from django.core.cache import caches
from django.test import override_settings
from redis import Redis
from redis.asyncio import RedisCluster
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError

from gateway_project.django_settings.redis import caches as cache_settings
from gateway_project.django_settings.redis import channel_layers
from gateway_project.doctor.redis import check_redis
from resilience.cache.tiers import TieredStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from resilience.redis_address import parse
from resilience.redis_client import connect
from resilience.redis_tls import RenewedConnection
from tests.ports import free_port
from tests.redis_cluster import RedisClusterServers
from tests.redis_server import RedisServer
from tests.redis_tls import TlsFiles
from tests.resilience.cache.entries import make
from tests.resilience.test_redis_failover import FAILOVER_SECONDS, SENTINEL, USER, _wait
from tests.resilience.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("redis with TLS")]

KINDS = ("single", "sentinel", "cluster")


@dataclass
class Site:
    """`url` is without parameters. `servers` are the master and its replica, of a Sentinel address."""

    url: str
    tls: TlsFiles
    servers: list[RedisServer] = field(default_factory=list)
    more: dict[str, str] = field(default_factory=dict)

    def address(self, **parameters: str) -> str:
        """REDIS_URL, with these parameters instead of those that work."""
        query = urlencode({**self.more, **parameters}) if parameters else f"{self.tls.query}&{urlencode(self.more)}"
        return f"{self.url}?{query}"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return TlsFiles(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest, tls: TlsFiles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        if request.param == "cluster":
            cluster = stack.enter_context(contextlib.closing(RedisClusterServers(tls)))
            cluster.start()
            yield Site(cluster.url.partition("?")[0], tls)
            return
        ports = [free_port(), free_port()]
        servers = [RedisServer(*tls.options(port), *USER, program="redis-server") for port in ports]
        for server in servers[: 1 if request.param == "single" else 2]:
            stack.enter_context(contextlib.closing(server)).start()
        if request.param == "single":
            yield Site(f"rediss://gateway:se%40ret@127.0.0.1:{ports[0]}/2", tls)
            return
        number = stack.enter_context(sentinel(tls, ports, servers, tmp_path_factory.mktemp("sentinel")))
        url = f"rediss+sentinel://gateway:se%40ret@127.0.0.1:1,127.0.0.1:{number}/primary/2"
        yield Site(url, tls, servers, {"sentinel_password": "sentinel#pw"})


@contextlib.contextmanager
def sentinel(tls: TlsFiles, ports: list[int], servers: list[RedisServer], directory: Path) -> Iterator[int]:
    """One that speaks TLS with the servers and with clients. Yields its port."""
    with servers[1].client() as replica:
        replica.replicaof("127.0.0.1", ports[0])
        _wait(lambda: replica.info("replication")["master_link_status"] == "up")
    number = free_port()
    lines = SENTINEL.format(port=0, directory=directory, master=ports[0])
    words = tls.options(number)
    lines += "\n".join(
        f"{name.removeprefix('--')} {value}" for name, value in zip(words[::2], words[1::2], strict=True)
    )
    configuration = directory / "sentinel.conf"
    configuration.write_text(lines.replace("tls-cluster yes", ""))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(["redis-server", str(configuration), "--sentinel"], stdout=log)
    try:
        with Redis(host="127.0.0.1", port=number, password="sentinel#pw", **tls.arguments) as client:
            _wait(lambda: len(client.execute_command("SENTINEL", "REPLICAS", "primary")) == 1)
        yield number
    finally:
        process.kill()
        process.wait()


async def exercise(url: str) -> None:
    """A response is stored, and invalidated by another worker."""
    link, other = RedisLink(url), RedisLink(url)
    store = TieredStore(link)
    await link.start()
    await until(lambda: link.feed.alive)
    assert await store.put("mail", "k", make(b"", "a"), (await store.get("mail", "k")).seq)
    await store.get("mail", "k")
    assert store.peek("mail", "k")
    assert (await TieredStore(other).invalidate("mail", "a")).entries == 1
    await until(lambda: not store.peek("mail", "k"))
    await other.close()
    await link.close()


async def test_responses_are_stored_and_invalidated(site: Site) -> None:
    await exercise(site.address())


async def test_djangos_cache_and_the_channel_layer_work(site: Site) -> None:
    def use_cache() -> None:
        with override_settings(CACHES=cache_settings(site.address(), "gw")):
            caches["default"].set_many({"a": 1, "b": [2]})
            assert caches["default"].get_many(["a", "b", "c"]) == {"a": 1, "b": [2]}
            caches["default"].close()

    await sync_to_async(use_cache)()
    with override_settings(CHANNEL_LAYERS=channel_layers(site.address(), "gw")):
        layer = registry.make_backend("default")
        channel = await layer.new_channel()
        await layer.group_add("group", channel)
        await layer.group_send("group", {"type": "told"})
        assert await layer.receive(channel) == {"type": "told"}
        sentinels = sentinels_of(layer)
        await layer.flush()
        for client in sentinels:  # which the layer leaves open until the process ends
            await client.aclose()


def sentinels_of(layer: Any) -> list[Any]:
    pools = [shard._redis.connection_pool for shard in layer._get_layer()._shards if shard._redis is not None]
    return [client for pool in pools if hasattr(pool, "sentinel_manager") for client in pool.sentinel_manager.sentinels]


def test_the_doctor_finds_nothing_that_fails(site: Site) -> None:
    config = msgspec.structs.replace(settings.CONFIG, redis_url=site.address())
    findings = list(check_redis(config, site.address()))
    assert len(findings) > 3
    assert not [finding for finding in findings if finding.level == "error"], findings


@pytest.mark.parametrize("has_other", [False, True], ids=["no CA", "another CA"])
async def test_a_server_of_another_authority_is_refused_and_the_log_says_why(
    site: Site, has_other: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = {"ssl_ca_certs": TlsFiles(tmp_path / "other").path("ca.crt")} if has_other else {}
    url = site.address(**other, client_name="gateway")
    link = RedisLink(url)
    with pytest.raises(StoreUnavailable):
        await link.call(lambda client: client.set("gw:x", "1"))
    await link.close()
    (line,) = [record.getMessage() for record in caplog.records if "Redis is unavailable" in record.getMessage()]
    assert "certificate" in line
    assert "127.0.0.1" not in line
    assert "se@ret" not in caplog.text
    *sentinels, connection = check_redis(msgspec.structs.replace(settings.CONFIG, redis_url=url), url)
    assert "certificate" in connection.message
    assert all("127.0.0.1" in finding.message for finding in sentinels)
    assert "se@ret" not in " ".join(finding.message for finding in (*sentinels, connection))


async def test_a_client_without_a_certificate_is_refused_and_with_one_unverified_servers_are_taken_if_told(
    site: Site, tls: TlsFiles
) -> None:
    link = RedisLink(site.address(ssl_ca_certs=tls.path("ca.crt")))
    with pytest.raises(StoreUnavailable):
        await link.call(lambda client: client.set("gw:x", "1"))
    await link.close()
    own = {"ssl_certfile": tls.path("client.crt"), "ssl_keyfile": tls.path("client.key"), "ssl_cert_reqs": "none"}
    link = RedisLink(site.address(**own))
    await link.call(lambda client: client.set("gw:x", "1"))
    await link.close()


def _is_master(server: RedisServer) -> bool:
    """A sentinel that promotes a server closes its connections."""
    with contextlib.suppress(RedisError), server.client() as client:
        return client.role()[0] in (b"master", "master")
    return False


async def test_after_a_failover_the_new_master_is_found(site: Site) -> None:
    if not site.servers:
        return
    link, (old, new) = RedisLink(site.address()), site.servers
    await TieredStore(link).invalidate("mail", "a")
    old.stop()
    await until(lambda: _is_master(new), FAILOVER_SECONDS)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(StoreUnavailable):
                await TieredStore(link).invalidate("mail", "a")
                break
            await asyncio.sleep(0.05)
    await link.close()


async def test_certificates_may_be_renewed_while_the_gateway_runs(tmp_path: Path) -> None:
    """By those of another authority, which nothing of before would accept."""
    tls, port = TlsFiles(tmp_path / "tls"), free_port()
    with contextlib.closing(RedisServer(*tls.options(port), program="redis-server")) as server:
        server.start()
        link = RedisLink(f"rediss://127.0.0.1:{port}/?{tls.query}")
        await asyncio.gather(*(link.call(lambda client: client.ping()) for _ in range(4)))
        renewed = TlsFiles(tmp_path / "tls")
        with server.client() as client:
            names = ("tls-ca-cert-file", "ca.crt", "tls-cert-file", "server.crt", "tls-key-file", "server.key")
            values = [renewed.path(each) if "." in each else each for each in names]
            client.execute_command("CONFIG", "SET", *values)
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.gather(*(link.call(lambda client: client.ping()) for _ in range(4)))
        assert not link.unavailable
        await link.close()


@pytest.mark.parametrize("scheme", ["rediss", "rediss+sentinel", "rediss+cluster"])
async def test_every_connection_reads_renewed_files(scheme: str) -> None:
    client = connect(parse(f"{scheme}://127.0.0.1:1/"), 0.5)
    if isinstance(client, RedisCluster):
        classes: list[type] = [node.connection_class for node in client.startup_nodes]
        classes.append(client.nodes_manager.connection_kwargs["connection_class"])
    else:
        pools = [client.connection_pool]
        if isinstance(pools[0], SentinelConnectionPool):
            pools += [sentinel.connection_pool for sentinel in pools[0].sentinel_manager.sentinels]
        classes = [pool.connection_class for pool in pools]
    assert all(issubclass(each, RenewedConnection) for each in classes)
    await client.aclose()
