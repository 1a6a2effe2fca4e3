"""Gateways that many tests share: one process with stores of its own, and two on a real Redis."""

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
from tests.system.backend import Backend, ok
from tests.system.server import Server, document

PLENTY: Final = "1000000/m"
"""For services whose tests are not about limits. One that says nothing has the gateway's own, 100/m."""
MAX_BODY: Final = 1_000_000
QUICK_CIRCUIT: Final = {"failure_threshold": 5, "window": "60s", "open_for": "1s", "success_threshold": 2}
NEVER_OPENS: Final = {"failure_threshold": 1000}


@dataclass(frozen=True)
class Seed:
    """A database with three callers, made once and copied for each gateway."""

    database: Path
    ours: str
    theirs: str
    limited: str


@dataclass
class Gateway:
    """A gateway in front of `backend`, which many tests share."""

    server: Server
    backend: Backend
    seed: Seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)


@pytest.fixture(scope="session")
def seed() -> Iterator[Seed]:
    maker = Server()
    kept = Path(tempfile.mkdtemp(prefix="gw-")) / "seed.sqlite3"
    maker.manage("migrate", "--verbosity", "0")
    keys = [maker.manage("apikey", "create", name).split()[-1] for name in ("ours", "theirs", "limited")]
    shutil.copy(maker.database, kept)
    maker.close()
    yield Seed(kept, *keys)
    shutil.rmtree(kept.parent)


@pytest.fixture(scope="session")
def backend() -> Iterator[Backend]:
    with Backend({"/whoami": whoami, "/slow": slow}) as backend:
        yield backend


@pytest.fixture(scope="session")
def single(seed: Seed, backend: Backend) -> Iterator[Gateway]:
    """One worker, every store in its memory."""
    with gateway(seed, backend) as server:
        yield Gateway(server, backend, seed)


@pytest.fixture(scope="session")
def pair(seed: Seed, backend: Backend) -> Iterator[Gateway]:
    """Two workers on a Redis."""
    with contextlib.closing(RedisServer()) as redis:
        redis.start()
        with gateway(seed, backend, "--workers", "2", REDIS_URL=redis.url) as server:
            yield Gateway(server, backend, seed)


@pytest.fixture(params=["single", "pair"])
def either(request: pytest.FixtureRequest) -> Gateway:
    """A test of what must hold with one worker and with two."""
    found: Gateway = request.getfixturevalue(request.param)
    return found


def gateway(seed: Seed, backend: Backend, *arguments: str, **environment: str) -> Server:
    """One that has not been started, with `services` behind it."""
    server = Server(*arguments, seed=seed.database, environment={"MAX_BODY_BYTES": str(MAX_BODY)} | environment)
    file = server.directory / "gateway.yaml"
    file.write_text(document(services(backend.targets)))
    server.environment["GATEWAY_CONFIG"] = str(file)
    return server


def services(targets: list[dict[str, str]]) -> dict[str, Any]:
    common = {"targets": targets, "retries": {"attempts": 1}, "rate_limit": PLENTY}
    return {
        "plain": {**common, "breaker": NEVER_OPENS, "timeout": {"connect": "2s", "read": "0.3s", "total": "10s"}},
        "open": {**common, "breaker": NEVER_OPENS, "auth": "none", "cache": False},
        "flaky": {**common, "breaker": QUICK_CIRCUIT, "cache": False},
        "fragile": {**common, "breaker": QUICK_CIRCUIT | {"open_for": "60s"}, "cache": False},
        "limited": {"targets": targets, "cache": False},
    }


async def whoami(peer: Peer) -> None:
    """The caller as the gateway tells it, in the body."""
    await peer.read_body()
    await peer.send(ok(dict(peer.request.fields).get(b"x-gateway-caller", b"nobody")))


async def slow(peer: Peer) -> None:
    await peer.read_body()
    await asyncio.sleep(1)
    await peer.send(ok(b'"slow"'))
