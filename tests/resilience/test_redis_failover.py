"""A master that becomes a replica, behind one address and behind sentinels."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from resilience.cache.tiers import TieredStore
from resilience.outage import StoreUnavailable
from resilience.redis import RedisLink
from tests.ports import free_port
from tests.redis_server import START_SECONDS, RedisServer, binary
from tests.resilience.cache.entries import make
from tests.resilience.waiting import until

pytestmark = pytest.mark.slow

RECOVERY_SECONDS = 5.0
FAILOVER_SECONDS = 90.0
"""Normally two. A sentinel that had to wait for a processor for two seconds does nothing for 30 s (TILT mode)."""


@contextlib.contextmanager
def servers(*options: str) -> Iterator[list[RedisServer]]:
    """Two servers on loopback; the second is a replica of the first."""
    made = [RedisServer("--port", str(free_port()), "--repl-diskless-sync-delay", "0", *options) for _ in range(2)]
    try:
        for server in made:
            server.start()
        with made[1].client() as replica:
            replica.replicaof("127.0.0.1", port(made[0]))
            _wait(lambda: replica.info("replication")["master_link_status"] == "up")
        yield made
    finally:
        for server in made:
            server.close()


def port(server: RedisServer) -> int:
    return int(server.options[1])


def _wait(condition: object) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(RedisError):
            if condition():  # type: ignore[operator]
                return
        time.sleep(0.05)
    raise RuntimeError("the servers do not agree")


class Address:
    """An address that leads to one server at a time, as a name or a virtual address does. Open connections stay."""

    def __init__(self, target: Path) -> None:
        self.target = target

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_reader, to_writer = await asyncio.open_unix_connection(str(self.target))
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    finally:
        writer.close()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[list[RedisServer], Address, str]]:
    with servers() as made:
        address = Address(made[0].directory / "socket")
        path = made[0].directory / "address"
        async with await asyncio.start_unix_server(address.accept, str(path)):
            yield made, address, f"unix://{path}"


async def test_after_a_failover_behind_one_address_invalidations_reach_the_new_master(
    pair: tuple[list[RedisServer], Address, str],
) -> None:
    (old, new), address, url = pair
    link = RedisLink(url)
    store = TieredStore(link)
    await link.start()
    await until(lambda: link.feed.alive)
    assert await store.put("mail", "k", make(b"", "a"), (await store.get("mail", "k")).seq)
    with new.client() as promoted, old.client() as demoted:
        await until(lambda: promoted.exists("gw:{mail}:e:k"))
        promoted.replicaof("NO", "ONE")
        demoted.replicaof("127.0.0.1", port(new))
        await asyncio.to_thread(_wait, lambda: demoted.info("replication")["master_link_status"] == "up")
        address.target = new.directory / "socket"
        started = time.monotonic()
        while True:
            try:
                await store.invalidate("mail", "a")
                break
            except StoreUnavailable:
                assert time.monotonic() - started < RECOVERY_SECONDS
                await asyncio.sleep(0.05)
        assert (await store.get("mail", "k")).entry is None
        await until(lambda: link.feed.alive)
        assert promoted.pubsub_numsub("gw:cache")[0][1] == 1
        assert demoted.pubsub_numsub("gw:cache")[0][1] == 0
    await link.close()


async def test_a_replica_is_unavailable_and_is_probed_without_noise(caplog: pytest.LogCaptureFixture) -> None:
    with servers() as (_, replica):
        link = RedisLink(replica.url)
        with pytest.raises(StoreUnavailable):
            await link.call(lambda client: client.set("gw:x", "1"))
        await asyncio.sleep(1.3)
        assert link.unavailable
        assert caplog.text.count("unavailable") == 1
        with replica.client() as promoted:
            promoted.replicaof("NO", "ONE")
        await until(lambda: not link.unavailable)
        await link.close()


SENTINEL = """port {port}
dir {directory}
user default on >sentinel#pw ~* &* +@all
sentinel monitor primary 127.0.0.1 {master} 1
sentinel auth-user primary gateway
sentinel auth-pass primary se@ret
sentinel down-after-milliseconds primary 700
sentinel failover-timeout primary 2000
"""
USER = [
    "--user",
    *["gateway", "on", ">se@ret", "~*", "&*", "+@all"],
    "--masteruser",
    "gateway",
    "--masterauth",
    "se@ret",
]


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[tuple[list[RedisServer], int]]:
    """A master with a user, its replica, and a sentinel with a password of its own."""
    number = free_port()
    with servers(*USER) as made:
        configuration = tmp_path / "sentinel.conf"
        configuration.write_text(SENTINEL.format(port=number, directory=tmp_path, master=port(made[0])))
        server = Path(binary())
        sentinel = subprocess.Popen([server, str(configuration), "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            with Redis(port=number, password="sentinel#pw") as client:
                _wait(lambda: len(client.execute_command("SENTINEL", "REPLICAS", "primary")) == 1)
            yield made, number
        finally:
            sentinel.kill()
            sentinel.wait()


async def test_sentinels_with_a_password_lead_to_the_master_before_and_after_a_failover(
    sentinels: tuple[list[RedisServer], int],
) -> None:
    (old, new), number = sentinels
    link = RedisLink(
        f"redis+sentinel://gateway:se%40ret@127.0.0.1:1,127.0.0.1:{number}/primary/2?sentinel_password=sentinel%23pw"
    )
    store = TieredStore(link)
    await link.start()
    await until(lambda: link.feed.alive)
    assert await store.put("mail", "k", make(b"", "a"), (await store.get("mail", "k")).seq)
    with old.client() as client:
        client.select(2)
        assert client.exists("gw2:{mail}:e:k")
    old.stop()
    with new.client() as promoted:
        await until(lambda: promoted.role()[0] in (b"master", "master"), FAILOVER_SECONDS)

    async def invalidates() -> bool:
        with contextlib.suppress(StoreUnavailable):
            await store.invalidate("mail", "a")
            return True
        return False

    async with asyncio.timeout(20):
        while not await invalidates():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)
    assert (await store.get("mail", "k")).entry is None
    await until(lambda: link.feed.alive)
    await link.close()
