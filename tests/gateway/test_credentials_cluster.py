"""Credentials of two workers with one Redis."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis import Redis

from resilience.redis import RedisLink
from routing.credentials import store
from routing.credentials.grants import Subject
from routing.router.credential_policy import GrantType
from routing.router.table import Service
from tests.clock import FakeClock
from tests.gateway.conftest import World, make_world
from tests.gateway.test_credentials import PATH, policy
from tests.gateway.token_server import GuardedBackend, TokenServer
from tests.origin import ScriptedOrigin
from tests.redis_server import RedisServer
from tests.resilience.waiting import until


class Cluster:
    def __init__(self, workers: list[World], tokens: TokenServer, backend: GuardedBackend) -> None:
        self.workers, self.tokens, self.backend = workers, tokens, backend

    async def request_all(self, number: int) -> Counter[int]:
        requests = (self.workers[index % 2].request("GET", PATH) for index in range(number))
        return Counter(response.status for response in await asyncio.gather(*requests))

    def advance(self, seconds: float) -> None:
        self.workers[0].clock.advance(seconds)


@pytest.fixture
async def cluster(own_redis: RedisServer) -> AsyncIterator[Cluster]:
    clock, backend, workers = FakeClock(), GuardedBackend(), []
    async with AsyncExitStack() as stack:
        tokens = await stack.enter_async_context(TokenServer())
        origin = await stack.enter_async_context(ScriptedOrigin(backend))
        for _ in range(2):
            link = RedisLink(own_redis.url)
            world = make_world("asgi", clock=clock, link=link)
            link.feed.listen(store.CHANNEL, lambda name, world=world: world.credentials.forget_service(name.decode()))  # type: ignore[misc]
            await link.start()
            stack.push_async_callback(link.close)
            stack.push_async_callback(world.close)
            await until(lambda link=link: link.feed.alive)  # type: ignore[misc]
            shared = policy(tokens, grant=GrantType.REFRESH_TOKEN, refresh_token="first")
            world.add(Service("crm", (origin.target,), policy=shared))
            workers.append(world)
        workers[1].credentials._refresher._vault = workers[0].vault
        yield Cluster(workers, tokens, backend)


async def test_two_workers_refresh_once(cluster: Cluster) -> None:
    for number in (1, 2):
        assert await cluster.request_all(80) == {200: 80}
        assert len(cluster.tokens.grants) == number
        cluster.advance(3_601)


async def test_a_refused_token_is_replaced_once_by_two_workers(cluster: Cluster) -> None:
    assert await cluster.request_all(2) == {200: 2}
    cluster.backend.accepted = {"token-2"}
    assert await cluster.request_all(80) == {200: 80}
    assert len(cluster.tokens.grants) == 2


async def test_two_workers_try_a_failing_endpoint_once_per_backoff(cluster: Cluster) -> None:
    cluster.tokens.status, cluster.tokens.answer = 400, lambda _form: {"error": "invalid_grant"}
    assert await cluster.request_all(80) == {502: 80}
    assert await cluster.request_all(80) == {502: 80}
    assert len(cluster.tokens.grants) == 1


async def test_a_rotated_refresh_token_is_used_by_the_other_worker(cluster: Cluster) -> None:
    cluster.tokens.rotates = True
    for number in range(4):
        assert (await cluster.workers[number % 2].request("GET", PATH)).status == 200
        cluster.advance(3_601)
    assert [grant["refresh_token"] for grant in cluster.tokens.grants] == [
        "first",
        "refresh-1",
        "refresh-2",
        "refresh-3",
    ]


async def test_forgetting_a_token_reaches_both_workers(cluster: Cluster) -> None:
    assert await cluster.request_all(2) == {200: 2}
    world = cluster.workers[0]
    used = world.live.table.services["crm"].policy.credential
    assert used is not None
    other = cluster.workers[1].credentials
    # The workers of this test have policies of their own, which are equal.
    await world.credentials.forget("crm", used, Subject("service"))
    await until(lambda: not other._holders)
    assert await cluster.request_all(2) == {200: 2}
    assert len(cluster.tokens.grants) == 2


async def test_while_redis_is_down_each_worker_has_a_token(cluster: Cluster, own_redis: RedisServer) -> None:
    own_redis.stop()
    assert await cluster.request_all(20) == {200: 20}
    assert len(cluster.tokens.grants) == 2


async def test_no_token_is_in_redis_as_it_is(cluster: Cluster, own_redis: RedisServer) -> None:
    cluster.tokens.rotates = True
    assert await cluster.request_all(2) == {200: 2}
    client = Redis.from_url(own_redis.url)
    keys = list(client.scan_iter())
    records = [key for key in keys if b":credential:" in key]
    assert len(records) == 1
    assert client.pttl(records[0]) > 0
    content = b" ".join([*keys, *[client.dump(key) or b"" for key in keys]])
    for secret in (b"token-1", b"refresh-1", b"s3cret", b"first"):
        assert secret not in content


@pytest.mark.parametrize("garbage", ["no ciphertext", ""])
async def test_a_record_of_another_program_is_replaced(cluster: Cluster, own_redis: RedisServer, garbage: str) -> None:
    assert await cluster.request_all(1) == {200: 1}
    client = Redis.from_url(own_redis.url)
    for key in client.scan_iter("*:credential:*"):
        client.delete(key)
        client.set(key, garbage) if garbage else client.lpush(key, "a list")
    assert (await cluster.workers[1].request("GET", PATH)).status == 200
    assert len(cluster.tokens.grants) == 2
