from collections.abc import Callable, Iterator

import pytest
import requests

from routing.demo.process import Demonstration
from tests.routing.demo.receiver import Receiver

Ports = dict[str, int]
Call = Callable[..., requests.Response]
DEFAULTS: dict[str, object] = {
    "latency": 1.0,
    "limits": True,
    "token": None,
    "token_seconds": 3_599,
    "errors": {},
    "webhook": None,
    "watch_seconds": 7 * 86_400,
}


@pytest.fixture(scope="session")
def ports() -> Iterator[Ports]:
    """The backends, on free ports."""
    demonstration = Demonstration({})
    yield demonstration.start()
    demonstration.stop()


@pytest.fixture
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def call(ports: Ports, client: requests.Session) -> Call:
    def request(service: str, path: str, method: str = "GET", **options: object) -> requests.Response:
        return client.request(method, f"http://127.0.0.1:{ports[service]}{path}", timeout=30, **options)  # type: ignore[arg-type]

    return request


@pytest.fixture
def settings(call: Call) -> Iterator[Callable[..., None]]:
    """Change a backend's settings for one test, without artificial latency."""
    changed: set[str] = set()

    def change(service: str, **values: object) -> None:
        changed.add(service)
        assert call(service, "/demo/settings", "POST", json={"latency": 0.0, **values}).ok

    yield change
    for service in changed:
        call(service, "/demo/settings", "POST", json=DEFAULTS)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as received:
        yield received
