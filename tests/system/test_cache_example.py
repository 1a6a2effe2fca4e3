"""The example of CacheService in docs/caching.md, installed as an app and run in two workers, a command and WSGI."""

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.ports import free_port
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend
from tests.system.conftest import Seed
from tests.system.server import ROOT, Server, document

EXAMPLE = ROOT / "docs" / "examples" / "channels"
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.system.example_settings"}
TAGGED = {"ttl": 300, "scope": "shared", "tags": ["slack:channels"]}
RESPONSE = "/api/v1/slack/channels"


@dataclass
class Deployment:
    """Two gateways of one worker each, on one database and one Redis."""

    one: Server
    other: Server

    def channels(self, server: Server) -> list[str]:
        return [channel["name"] for channel in server.get("/channels/").json()["channels"]]

    def create(self, server: Server, name: str) -> None:
        server.manage(
            "shell", "-c", f"from docs.examples.channels.models import Channel; Channel(name={name!r}).save()"
        )


@pytest.fixture(scope="module")
def deployment(seed: Seed, backend: Backend) -> Iterator[Deployment]:
    redis = RedisServer()
    redis.start()
    services = {"slack": {"targets": backend.targets, "auth": "none", "rate_limit": "1000000/m", "cache": TAGGED}}
    one = Server(seed=seed.database, environment=SETTINGS | {"REDIS_URL": redis.url})
    configuration = one.directory / "gateway.yaml"
    configuration.write_text(document(services))
    one.environment["GATEWAY_CONFIG"] = str(configuration)
    one.manage("migrate", "--run-syncdb", "--verbosity", "0")
    other = Server(environment=dict(one.environment))
    try:
        with one, other:
            yield Deployment(one, other)
    finally:
        redis.close()


@pytest.mark.alone
def test_a_saved_model_ends_a_value_and_a_response_in_another_worker(deployment: Deployment) -> None:
    _fill(deployment)
    deployment.create(deployment.one, "saved-by-a-command")
    saved = time.monotonic()
    assert eventually(lambda: _is_invalidated(deployment.other, "saved-by-a-command"), 5.0)
    assert time.monotonic() - saved < 1.0


@pytest.mark.alone
def test_a_model_saved_in_a_request_ends_them_too(deployment: Deployment, wsgi: str) -> None:
    """Under a WSGI server of the project's own, which shares the Redis."""
    _fill(deployment)
    assert requests.get(f"{wsgi}/channels/", timeout=30).json() == deployment.one.get("/channels/").json()
    deployment.create(deployment.other, "seen-by-wsgi")
    assert eventually(lambda: "seen-by-wsgi" in requests.get(f"{wsgi}/channels/", timeout=30).text, 1.0)


@pytest.mark.alone
def test_asynchronous_views_share_the_values(deployment: Deployment) -> None:
    count = deployment.one.get("/channels/count/").json()["count"]
    assert deployment.other.get("/channels/count/").json()["count"] == count
    deployment.create(deployment.one, "counted")
    assert eventually(lambda: deployment.other.get("/channels/count/").json()["count"] == count + 1, 1.0)


def test_look_ups_of_values_are_counted(deployment: Deployment) -> None:
    """Beside the requests of services, in the cluster's statistics."""
    key = deployment.one.manage("apikey", "create", "reader", "--scope", "metrics:read").split()[-1]
    assert eventually(lambda: deployment.one.get("/metrics/cache", key).ok), "the key is not live"
    for _ in range(3):
        deployment.one.get("/channels/")
    counted = deployment.one.get("/metrics/cache", key).json()["byService"]["app"]
    assert counted["hits"] >= 2
    assert counted["entries"] >= 1


def test_a_command_saves_what_it_has_counted_when_it_ends(seed: Seed) -> None:
    """Without a Redis nobody else would."""
    with contextlib.closing(Server(seed=seed.database)) as own:
        for number in range(2):
            code = f"from routing.cache import cache; cache.get_or_set('a{number}', lambda: 1)"
            command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", code]
            done = subprocess.run(
                command, cwd=ROOT, env=own.environment, capture_output=True, text=True, check=True, timeout=60
            )
            assert done.stderr == ""
        read = (
            "from metrics.models import Aggregate as A; print(A.objects.get(resolution='total', service='app').counts)"
        )
        counts = own.manage("shell", "--no-imports", "-c", read)
        assert "'cache|MISS': 2" in counts, counts


def test_the_documentation_shows_the_example_as_it_is() -> None:
    text = (ROOT / "docs" / "caching.md").read_text()
    blocks = dict(re.findall(r"`(docs/examples/channels/\w+\.py)`[^`]*```python\n(.*?)```", text, re.DOTALL))
    assert sorted(blocks) == [f"docs/examples/channels/{name}.py" for name in ("apps", "models", "views")]
    assert {path: Path(ROOT / path).read_text() for path in blocks} == blocks


@pytest.fixture
def wsgi(deployment: Deployment) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.system.plain_django", str(port)]
    environment = deployment.one.environment
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        assert eventually(lambda: _responds(address))
        yield address
        process.terminate()


def _responds(address: str) -> bool:
    try:
        return requests.get(f"{address}/channels/", timeout=30).ok
    except requests.ConnectionError:
        return False


def _fill(deployment: Deployment) -> None:
    """Have both workers keep the value and the response in memory."""
    for server in (deployment.one, deployment.other):
        deployment.channels(server)
        for _ in range(3):
            server.get(RESPONSE)
        assert server.get(RESPONSE).headers["X-Cache"] == "HIT"


def _is_invalidated(server: Server, name: str) -> bool:
    """The value is computed anew, and the response fetched anew."""
    response = server.get(RESPONSE)
    assert response.ok, server.log[-6000:]
    return name in server.get("/channels/").text and response.headers["X-Cache"] != "HIT"
