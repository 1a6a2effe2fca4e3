"""Floods of Django's pages: bounded bodies, throttled logins, bad keys and schema requests."""

import contextlib
import http.client
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_project.pages.queue import MAX_RUNNING_PER_CLIENT
from gateway_project.pages.threads import SHORT_BYTES
from tests.system.conftest import MAX_BODY, Seed
from tests.system.server import Server

LIMIT = 60
FLOOD = 40
OTHER_THREADS = 4
"""Of reloads and of the counters, which come and go."""


def gateway(seed: Seed) -> Server:
    return Server(seed=seed.database, environment={"MAX_BODY_BYTES": str(MAX_BODY)})


@pytest.fixture
def server(seed: Seed) -> Iterator[Server]:
    """For one test, since it uses up what its address may do."""
    with gateway(seed) as made:
        yield made


@pytest.fixture(scope="module")
def shared(seed: Seed) -> Iterator[Server]:
    with gateway(seed) as made:
        yield made


def post(server: Server, path: str, size: int, *, chunked: bool) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = (bytes(65_536) for _ in range(size // 65_536)) if chunked else bytes(size)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before it was sent
        connection.request(
            "POST", path, body, encode_chunked=chunked, headers={"Transfer-Encoding": "chunked"} if chunked else {}
        )
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_bodies_of_pages_are_bounded(shared: Server) -> None:
    for path in ("/admin/login/", "/dashboard/", "/metrics/cache/warm", "/nowhere"):
        assert post(shared, path, 4 * MAX_BODY, chunked=False) == 413


@pytest.mark.parametrize(
    ("path", "status"),
    [("/admin/login/", 403), ("/dashboard/", 403), ("/metrics/cache/warm", 401), ("/nowhere", 404)],
)
def test_a_body_of_unknown_length_is_not_read_for_a_refusal(shared: Server, path: str, status: int) -> None:
    """With a credential, and so read, it is 413: see test_unsent_bodies."""
    assert post(shared, path, 4 * MAX_BODY, chunked=True) == status


def test_failed_logins_are_throttled(server: Server) -> None:
    for _ in range(50):
        page = server.get("/admin/login/")
        token = page.cookies["csrftoken"]
        data = {"username": "Admin", "password": "x", "csrfmiddlewaretoken": token}
        response = server.request("POST", "/admin/login/", data=data, cookies=page.cookies)
        if response.status_code == 429:
            break
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) > 0
    assert server.get("/admin/login/").status_code == 200


def test_bad_keys_and_schema_requests_are_throttled_and_good_keys_are_not(server: Server, seed: Seed) -> None:
    """Enough of them for one of two fixed windows."""
    flood = range(2 * LIMIT + 10)
    bad = {server.get("/metrics", "gw_" + "a" * 8 + "_" + "b" * 43).status_code for _ in flood}
    assert bad == {401, 429}
    assert server.get("/metrics", seed.reader).status_code == 200
    schema = [server.get("/api/schema") for _ in flood]
    assert {response.status_code for response in schema} == {200, 429}
    assert len({response.content for response in schema if response.status_code == 200}) == 1


def test_a_flood_of_pages_has_few_threads_and_others_are_served_meanwhile(server: Server, seed: Seed) -> None:
    """Each connection used to have a thread of its own, all of which compete with the event loop."""
    (worker,) = server.workers
    before = _threads(worker)
    with contextlib.ExitStack() as opened:
        flood = [opened.enter_context(contextlib.closing(server.connect())) for _ in range(FLOOD)]
        for connection in flood:
            connection.sendall(b"GET /admin/login/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        most = before
        while select.select(flood, [], [], 0.01)[0] != flood:
            most = max(most, _threads(worker))
        assert server.get("/metrics", seed.reader).status_code == 200
        assert {connection.recv(15) for connection in flood} == {b"HTTP/1.1 200 OK"}
    assert before < most <= before + MAX_RUNNING_PER_CLIENT + OTHER_THREADS


def test_files_of_any_size_are_sent_whole(shared: Server) -> None:
    for path, is_long in (
        ("admin/css/base.css", False),
        ("drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js", True),
    ):
        response = shared.get(f"/static/{path}", headers={"Accept-Encoding": "identity"})
        assert response.status_code == 200
        assert len(response.content) == int(response.headers["Content-Length"])
        assert (len(response.content) > SHORT_BYTES) == is_long
        assert shared.request("HEAD", f"/static/{path}").content == b""


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
