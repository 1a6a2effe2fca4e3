"""The fetch of an issuer's keys: discovery, its bounds, and one fetch for all workers."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from resilience.outage import StoreUnavailable
from routing.authentication.discovery import KeySetClient, metadata_urls, read_metadata
from routing.authentication.issuer_keys import KEEP_SECONDS, SharedKeySource
from routing.authentication.issuer_policy import Issuer
from routing.authentication.key_endpoint import Cause, Fetched, FetchedKeys, KeyFetchFailed
from routing.credentials.memory import MemoryStore
from tests.identity_provider import Provider, jwk, serving

ISSUER = "https://issuer.example/realms/a"


class Cluster:
    """Workers that share a store. `keys` are the issuer's, and `down` whether it responds."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.store: Any = MemoryStore(lambda: self.now)
        self.keys: list[Any] = [jwk("k1")]
        self.fetches = 0
        self.down = False

    def worker(self, secret: bytes = b"secret") -> SharedKeySource:
        issuer = Issuer(issuer=ISSUER, audience=("a",), jwks_uri=f"{ISSUER}/keys")
        client = KeySetClient(issuer, lambda: self.now, self._get)
        loop = asyncio.get_running_loop()
        return SharedKeySource(client, self.store, loop, name=ISSUER, secret=secret, clock=lambda: self.now)

    def _get(self, _url: str, _limit: int) -> Fetched:
        self.fetches += 1
        if self.down:
            raise KeyFetchFailed("down")
        return Fetched(json.dumps({"keys": self.keys}).encode(), {"cache-control": "max-age=100"})


async def fetched(source: SharedKeySource, cause: Cause = Cause.REFRESH) -> FetchedKeys:
    return await asyncio.to_thread(source, cause)


async def test_one_worker_fetches_for_all() -> None:
    cluster = Cluster()
    workers = [cluster.worker() for _ in range(8)]
    found = await asyncio.gather(*map(fetched, workers))
    assert cluster.fetches == 1
    assert {frozenset(keys.certificates) for keys in found} == {frozenset({"", "k1"})}
    assert {keys.requested_at for keys in found} == {1_000.0}


async def test_a_refetch_is_shared_too() -> None:
    cluster = Cluster()
    one, two = cluster.worker(), cluster.worker()
    await fetched(one), await fetched(two)
    cluster.keys, cluster.now = [jwk("k2")], 1_001.0
    assert "k2" in (await fetched(one)).certificates
    assert "k2" in (await fetched(two)).certificates
    assert cluster.fetches == 2


async def test_a_refetch_for_another_cause_is_no_result_for_a_token() -> None:
    """It may be older than the rotation that the token is the first sign of, though it is newer than this worker's."""
    cluster = Cluster()
    one, two = cluster.worker(), cluster.worker()
    await fetched(one), await fetched(two)
    for number, cause in enumerate((Cause.REFRESH, Cause.WRONG_SIGNATURE)):
        cluster.now += 31.0
        await fetched(one, cause)
        cluster.keys.append(jwk(f"new-{number}"))
        cluster.now += 1.0
        assert f"new-{number}" in (await fetched(two, Cause.UNKNOWN_ID)).certificates
    assert cluster.fetches == 5


@pytest.mark.parametrize("cause", [Cause.UNKNOWN_ID, Cause.WRONG_SIGNATURE])
async def test_one_fetch_in_half_a_minute_for_a_cause_in_all_workers(cause: Cause) -> None:
    cluster = Cluster()
    workers = [cluster.worker() for _ in range(4)]
    for worker in workers:
        await fetched(worker)
    cluster.now += 5.0
    found = await asyncio.gather(*(fetched(worker, cause) for worker in workers))
    cluster.now += 20.0
    found += [await fetched(cluster.worker(), cause)]
    assert cluster.fetches == 2
    assert {keys.asked_at for keys in found} - {None} == {1_005.0}
    cluster.now += 9.0
    await fetched(workers[2], cause)
    assert cluster.fetches == 3


async def test_a_new_worker_uses_the_last_keys_while_the_issuer_is_away() -> None:
    cluster = Cluster()
    await fetched(cluster.worker())
    cluster.down, cluster.now = True, 1_000.0 + 3_600
    keys = await fetched(cluster.worker())
    assert "k1" in keys.certificates
    assert keys.fault == "down"
    cluster.now += KEEP_SECONDS
    with pytest.raises(KeyFetchFailed):
        await fetched(cluster.worker())


async def test_keys_that_another_program_has_stored_are_not_used() -> None:
    cluster = Cluster()
    await fetched(cluster.worker(b"another installation"))
    (name, (value, until)), *_ = cluster.store._values.items()
    cluster.store._values[name] = value[:-1] + b"!", until
    await fetched(cluster.worker())
    assert cluster.fetches == 2


async def test_without_the_store_each_worker_fetches() -> None:
    class Away:
        def __getattr__(self, _name: str) -> Any:
            async def call(*_: object) -> None:
                raise StoreUnavailable

            return call

    cluster = Cluster()
    cluster.store = Away()
    assert "k1" in (await fetched(cluster.worker())).certificates
    assert "k1" in (await fetched(cluster.worker())).certificates


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving(Provider()) as provider:
        yield provider


def client(provider: Provider, **settings: Any) -> KeySetClient:
    return KeySetClient(Issuer(issuer=provider.issuer, audience=("a",), **settings), lambda: 0.0)


def test_discovery_by_either_path(provider: Provider) -> None:
    assert b"k1" in client(provider).fetch().body
    provider.metadata_path = "/.well-known/oauth-authorization-server"
    found = client(provider)
    assert b"k1" in found.fetch().body
    assert b"k1" in found.fetch().body
    assert provider.fetches["/.well-known/oauth-authorization-server"] == 1
    assert provider.key_fetches == 3


@pytest.mark.parametrize(
    "page", [b"<!doctype html>", b'{"error": "not found"}', b'{"issuer": "https://other.example"}']
)
def test_a_page_at_one_of_the_paths_does_not_end_the_discovery(page: bytes) -> None:
    """Applications answer to each path of theirs with their page, and 200."""
    first, second, *_ = metadata_urls(ISSUER)
    documents = {
        first: page,
        second: json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}).encode(),
        f"{ISSUER}/keys": b"keys",
    }

    def get(url: str, _limit: int) -> Fetched:
        if url not in documents:
            raise KeyFetchFailed("status 404")
        return Fetched(documents[url], {})

    issuer = Issuer(issuer=ISSUER, audience=("a",))
    assert KeySetClient(issuer, lambda: 0.0, get).fetch().body == b"keys"
    del documents[second]
    with pytest.raises(KeyFetchFailed, match=r"^discovery: (not a JSON object|the document is of another issuer)$"):
        KeySetClient(issuer, lambda: 0.0, get).fetch()


def test_where_metadata_may_be() -> None:
    assert metadata_urls(ISSUER) == (
        "https://issuer.example/realms/a/.well-known/openid-configuration",
        "https://issuer.example/.well-known/oauth-authorization-server/realms/a",
        "https://issuer.example/.well-known/openid-configuration/realms/a",
    )


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"issuer": "https://evil.example"}, "another issuer"),
        ({"issuer": ISSUER + "/"}, "another issuer, which differs from the configured one in the slash at its end"),
        ({"jwks_uri": "http://issuer.example/keys"}, "https"),
        ({"jwks_uri": "http://127.0.0.1:1/keys"}, "https"),
        ({"jwks_uri": "file:///etc/passwd"}, "https"),
        ({"jwks_uri": "https://user:pw@issuer.example/"}, "no user"),
        ({"jwks_uri": 5}, "https"),
        ({"jwks_uri": None}, "https"),
    ],
)
def test_metadata_that_is_not_accepted(metadata: dict[str, Any], reason: str) -> None:
    document = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"} | metadata
    with pytest.raises(KeyFetchFailed, match=reason):
        read_metadata(json.dumps(document).encode(), ISSUER)


def test_what_is_no_key_set_and_redirects_are_refused(provider: Provider) -> None:
    provider.metadata = {"issuer": "https://evil.example"}
    with pytest.raises(KeyFetchFailed, match="another issuer"):
        client(provider).fetch()
    provider.metadata, provider.status = {}, 302
    with pytest.raises(KeyFetchFailed, match="302"):
        client(provider).fetch()
    provider.status = 0
    with pytest.raises(KeyFetchFailed):
        client(provider, jwks_uri=f"{provider.issuer}/keys").fetch()


def test_a_huge_key_set_is_refused(provider: Provider) -> None:
    provider.keys = [jwk("k1") | {"x5c": ["A" * 2_000_000]}]
    with pytest.raises(KeyFetchFailed, match="too large"):
        client(provider).fetch()


def test_how_long_keys_are_fresh(provider: Provider) -> None:
    seconds = {}
    for control in ("max-age=1000", "no-cache", "no-store", "max-age=0", "max-age=99999999", ""):
        provider.cache_control = control
        seconds[control] = client(provider).fetch().seconds
    assert seconds == {
        "max-age=1000": 1_000,
        "no-cache": 300,
        "no-store": 300,
        "max-age=0": 10,
        "max-age=99999999": 86_400,
        "": 300,
    }
