"""Gateways shared by many tests: one worker with stores in memory, and two workers over a real Redis."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.origin import Peer
from tests.redis_server import RedisServer
from tests.seed import create_keys
from tests.system.backend import Backend, ok
from tests.system.server import Server, document

UNLIMITED: Final = "1000000/m"
"""For services whose tests are not about rate limits. The default of the gateway is 100/m."""
MAX_BODY: Final = 1_000_000
QUICK_CIRCUIT: Final = {"failure_threshold": 5, "window": "60s", "open_for": "1s", "success_threshold": 2}
HIGH_THRESHOLD: Final = {"failure_threshold": 1000}
SHARED: Final = frozenset({"single", "pair", "either"})
TOKEN: Final = "a token of the provider's"
WEBHOOKS: Final = {"plain": {"verify": "shared_token", "secret": "env:GATEWAY_SECRET_TOKEN"}}
KEYS: Final = {
    "ours": (),
    "theirs": (),
    "limited": (),
    "publisher": ("*", "events:publish", "metrics:read"),
    "reader": ("metrics:read",),
}


@dataclass(frozen=True)
class Seed:
    """A database with these API keys, created once and copied for each gateway."""

    database: Path
    ours: str
    theirs: str
    limited: str
    publisher: str
    """It may publish events and read metrics."""
    reader: str
    """It may only read metrics."""


@dataclass
class Gateway:
    """A shared gateway in front of `backend`."""

    server: Server
    backend: Backend
    seed: Seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Run all tests of the shared gateways in one process, which starts each gateway once."""
    item.add_marker("slow")
    if SHARED.intersection(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.xdist_group("shared gateways"))


@pytest.fixture(scope="session")
def seed() -> Iterator[Seed]:
    maker = Server()
    database = Path(tempfile.mkdtemp(prefix="gw-")) / "seed.sqlite3"
    keys = create_keys(maker.manage, KEYS)
    shutil.copy(maker.database, database)
    maker.close()
    yield Seed(database, **keys)
    shutil.rmtree(database.parent)


@pytest.fixture(scope="session")
def backend() -> Iterator[Backend]:
    with Backend({"/whoami": whoami, "/slow": slow, "/echo": echo}) as backend:
        yield backend


@pytest.fixture(scope="session")
def single(seed: Seed, backend: Backend) -> Iterator[Gateway]:
    """One worker, with all stores in memory."""
    with gateway(seed, backend) as server:
        yield Gateway(server, backend, seed)


@pytest.fixture(scope="session")
def pair(seed: Seed, backend: Backend) -> Iterator[Gateway]:
    """Two workers over a real Redis."""
    with contextlib.closing(RedisServer()) as redis:
        redis.start()
        with gateway(seed, backend, "--workers", "2", REDIS_URL=redis.url) as server:
            yield Gateway(server, backend, seed)


@pytest.fixture(params=["single", "pair"])
def either(request: pytest.FixtureRequest) -> Gateway:
    """Runs the test with one worker and with two."""
    gateway: Gateway = request.getfixturevalue(request.param)
    return gateway


def gateway(seed: Seed, backend: Backend, *arguments: str, **environment: str) -> Server:
    """A gateway for `services` that has not been started."""
    common = {"MAX_BODY_BYTES": str(MAX_BODY), "GATEWAY_SECRET_TOKEN": TOKEN}
    server = Server(*arguments, seed=seed.database, environment=common | environment)
    file = server.directory / "gateway.yaml"
    file.write_text(document(services(backend.targets), WEBHOOKS))
    server.environment["GATEWAY_CONFIG"] = str(file)
    return server


def services(targets: list[dict[str, str]]) -> dict[str, Any]:
    common = {"targets": targets, "retries": {"attempts": 1}, "rate_limit": UNLIMITED}
    return {
        "plain": {**common, "breaker": HIGH_THRESHOLD, "timeout": {"connect": "2s", "read": "2s", "total": "10s"}},
        "open": {**common, "breaker": HIGH_THRESHOLD, "auth": "none", "cache": False, "hosts": ["open.test"]},
        "flaky": {**common, "breaker": QUICK_CIRCUIT, "cache": False},
        "fragile": {**common, "breaker": QUICK_CIRCUIT | {"open_for": "60s"}, "cache": False},
        "limited": {"targets": targets, "cache": False},
        "held": {**common, "cache": False, "outcome": {"limited": {"status": 429}}, "hold_off": {"per": "path"}},
        "paced": {**common, "cache": False, "outbound": {"rate": "15/h", "per": "path", "queue": "0s"}},
        "reads": {**common, "cache": {"methods": ["GET", "HEAD", "POST"], "key": {"body": ["channel", "cursor"]}}},
    }


async def whoami(peer: Peer) -> None:
    """Respond with the caller that the gateway has forwarded."""
    await peer.read_body()
    await peer.send(ok(dict(peer.request.fields).get(b"x-gateway-caller", b"nobody")))


async def echo(peer: Peer) -> None:
    await peer.send(ok(await peer.read_body()))


async def slow(peer: Peer) -> None:
    await peer.read_body()
    await asyncio.sleep(1)
    await peer.send(ok(b'"slow"'))
