"""The request log over two workers and a real Redis: what one records, the other finds, also after a restart."""

from typing import Any

import pytest

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend
from tests.system.conftest import Seed, gateway
from tests.system.server import Server

pytestmark = pytest.mark.slow


def stored(server: Server, seed: Seed, query: str = "") -> list[dict[str, Any]]:
    """What all workers have stored: nothing while Redis is unavailable."""
    response = server.get(f"/metrics/requests?{query}", seed.reader)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return list(found["requests"]) if found["isShared"] else []


def test_what_one_worker_records_is_found_by_the_other(seed: Seed, backend: Backend, own_redis: RedisServer) -> None:
    with gateway(seed, backend, "--workers", "2", REDIS_URL=own_redis.url) as server:
        one, other = server.connections().values()
        ids = [one.get("/api/v1/nothing/x?a=secret", seed.ours)[1]["x-request-id"] for _ in range(3)]
        ids += [other.get("/api/v1/nothing/y", seed.ours)[1]["x-request-id"] for _ in range(3)]

        def found_by(worker: Any) -> bool:
            return all(worker.get(f"/metrics/requests/{each}", seed.reader)[0] == 200 for each in ids)

        assert eventually(lambda: found_by(one))
        assert eventually(lambda: found_by(other))
        listed = [each["id"] for each in stored(server, seed, "code=unknown_service")]
        assert sorted(listed) == sorted(ids)
        own_redis.stop()
        status = one.get("/api/v1/nothing/while-away", seed.ours)[0]
        assert status == 404
        assert eventually(lambda: one.get(f"/metrics/requests/{ids[0]}", seed.reader)[0] == 503)
        own_redis.start()
        assert eventually(lambda: any(each["path"].endswith("while-away") for each in stored(server, seed)))
        server.terminate()
        server.wait()
        server.start()
        assert stored(server, seed, "code=unknown_service")
