"""Shutdown, crashes of workers, and calls whose client disconnects."""

import asyncio
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from tests.origin import Peer
from tests.ports import free_port
from tests.processes import eventually, has_exited
from tests.system.backend import Backend, ok
from tests.system.conftest import Gateway, Seed, gateway
from tests.system.server import PYTHON, ROOT, Server, WorkerConnection
from tests.system.wire import head, received

CALLED_OFF = 10.0
"""Seconds to wait for a gateway that does not close; normally it closes at once."""


@pytest.fixture
def own(seed: Seed, backend: Backend) -> Iterator[Server]:
    """A gateway that is not shared with other tests."""
    with gateway(seed, backend) as server:
        yield server


def start_request(server: Server, backend: Backend, path: str) -> socket.socket:
    """A connection whose request has reached the backend."""
    before, connection = backend.request_count(path), server.connect()
    connection.sendall(head(b"/api/v1/open" + path.encode()).replace(b"Connection: close\r\n", b""))
    assert eventually(lambda: backend.request_count(path) > before)
    return connection


def refuses(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("stop", [Server.terminate, Server.interrupt])
def test_shutdown_finishes_requests_in_flight_and_accepts_no_others(
    own: Server, backend: Backend, stop: Callable[[Server], None]
) -> None:
    may_end = threading.Event()

    async def in_two_pieces(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.to_thread(may_end.wait, 20)
        await peer.send(b"1\r\nb\r\n0\r\n\r\n")

    async def after_a_while(peer: Peer) -> None:
        await asyncio.to_thread(may_end.wait, 20)
        await peer.send(ok(b'"late"'))

    backend.scripts |= {"/pieces": in_two_pieces, "/late": after_a_while}
    with (
        start_request(own, backend, "/pieces") as streaming,
        start_request(own, backend, "/late") as waiting,
        own.connect() as idle,
    ):
        stop(own)
        assert eventually(lambda: refuses(own))
        assert received(idle) == b""
        may_end.set()
        assert received(waiting).endswith(b'"late"')
        assert received(streaming).endswith(b"1\r\nb\r\n0\r\n\r\n")
    assert own.wait() == 0


def test_shutdown_waits_for_the_request_that_a_connection_was_made_for(own: Server) -> None:
    with own.connect() as connected, own.connect() as halfway, own.connect() as silent:
        halfway.sendall(b"GET /api/v1/open/x HTT")
        own.get("/health")
        own.terminate()
        assert eventually(lambda: refuses(own))
        connected.sendall(head(b"/api/v1/open/x"))
        halfway.sendall(head(b"/api/v1/open/x").removeprefix(b"GET /api/v1/open/x HTT"))
        assert received(connected).startswith(b"HTTP/1.1 200 ")
        assert received(halfway).startswith(b"HTTP/1.1 200 ")
        assert received(silent) == b""
    assert own.wait() == 0


def test_shutdown_refuses_connections_to_staffs_port_while_requests_end(seed: Seed, backend: Backend) -> None:
    may_end, staff_port = threading.Event(), free_port()

    async def slow(peer: Peer) -> None:
        await asyncio.to_thread(may_end.wait, 20)
        await peer.send(ok(b'"late"'))

    def is_refused() -> bool:
        try:
            socket.create_connection(("127.0.0.1", staff_port)).close()
        except ConnectionRefusedError:
            return True
        return False

    backend.scripts["/slow"] = slow
    with gateway(seed, backend, STAFF_PORT=str(staff_port)) as own:
        assert not is_refused()
        with start_request(own, backend, "/slow") as waiting:
            own.terminate()
            assert eventually(is_refused)
            may_end.set()
            assert received(waiting).endswith(b'"late"')
        assert own.wait() == 0


async def endless(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        await peer.send(b"1\r\na\r\n")
        await asyncio.sleep(0.1)


def test_an_endless_response_is_aborted_after_the_grace_period(seed: Seed, backend: Backend) -> None:
    backend.scripts["/endless"] = endless
    grace = 4
    with gateway(seed, backend, GRACE_SECONDS=str(grace)) as own, start_request(own, backend, "/endless") as connection:
        began = time.monotonic()
        own.terminate()
        assert not received(connection).endswith(b"0\r\n\r\n")
        assert own.wait() == 0
        assert grace - 1 < time.monotonic() - began < grace + 5
        assert "killing" not in own.log
        assert '"path":"/api/v1/open/endless"' in own.log, "a worker that ends in good order has its lines written"


def test_a_second_signal_ends_the_drain_and_sigquit_the_requests(seed: Seed, backend: Backend) -> None:
    backend.scripts["/endless"] = endless
    with gateway(seed, backend, DRAIN_SECONDS="300", GRACE_SECONDS="300") as own:
        with start_request(own, backend, "/endless") as connection:
            own.terminate()
            assert eventually(lambda: own.get("/health/ready").status_code == 503)
            os.kill(own.pid, signal.SIGHUP)
            time.sleep(0.5)
            assert not refuses(own), "a reload has ended the drain"
            own.terminate()
            assert eventually(lambda: refuses(own))
            os.kill(own.pid, signal.SIGQUIT)
            assert not received(connection).endswith(b"0\r\n\r\n")
            assert own.wait() == 0
        assert '"path":"/api/v1/open/endless"' in own.log


@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_serves_new_connections_and_lets_a_slow_response_end(
    seed: Seed, backend: Backend, workers: int
) -> None:
    may_end = threading.Event()

    async def slow(peer: Peer) -> None:
        await asyncio.to_thread(may_end.wait, 20)
        await peer.send(ok(b'"late"'))

    backend.scripts["/slow"] = slow
    store = {"REDIS_URL": "embedded"} if workers > 1 else {}
    with gateway(seed, backend, "--workers", str(workers), DRAIN_SECONDS="300", **store) as own:
        with start_request(own, backend, "/slow") as waiting, own.connect() as persistent:
            each = list(own.connections().values())
            own.terminate()
            assert all(eventually(partial(is_draining, worker)) for worker in each)
            for _ in range(50):
                response = own.get("/api/v1/open/x")
                assert (response.status_code, response.headers["Connection"]) == (200, "close")
            persistent.sendall(head(b"/api/v1/open/x").replace(b"Connection: close\r\n", b""))
            assert b"connection: close" in received(persistent).lower()
            own.terminate()
            assert eventually(lambda: refuses(own))
            may_end.set()
            assert received(waiting).endswith(b'"late"')
        assert own.wait() == 0


def is_draining(worker: WorkerConnection) -> bool:
    return worker.get("/health/ready")[0] == 503


def test_a_drain_ends_by_itself(seed: Seed, backend: Backend) -> None:
    with gateway(seed, backend, DRAIN_SECONDS="1") as own:
        own.terminate()
        assert eventually(lambda: refuses(own))
        assert own.wait() == 0


def test_sighup_renews_the_workers_without_losing_a_request(seed: Seed, backend: Backend) -> None:
    may_end = threading.Event()

    async def slow(peer: Peer) -> None:
        await asyncio.to_thread(may_end.wait, 20)
        await peer.send(ok(b'"late"'))

    backend.scripts["/slow"] = slow
    with gateway(seed, backend, "--workers", "2", REDIS_URL="embedded") as own:
        before = set(own.workers)
        with start_request(own, backend, "/slow") as waiting:
            os.kill(own.pid, signal.SIGHUP)
            while len(set(own.workers) - before) < 2 or len(before.intersection(own.workers)) > 1:
                assert own.get("/api/v1/open/x").status_code == 200
            may_end.set()
            assert received(waiting).endswith(b'"late"')
        assert eventually(lambda: before.isdisjoint(own.workers))
        assert own.get("/api/v1/open/x").status_code == 200
        assert "died" not in own.log


def test_a_renewal_without_a_database_keeps_the_old_worker(seed: Seed, backend: Backend) -> None:
    """A new one has no configuration, and would answer with 503. Once the database is back, it takes over."""
    with gateway(seed, backend) as own:
        before, away = own.workers, own.database.with_suffix(".away")
        assert own.get("/api/v1/open/x").status_code == 200
        own.database.rename(away)
        own.database.mkdir()  # so that it is not created anew
        os.kill(own.pid, signal.SIGHUP)
        assert eventually(lambda: "accepts nothing before it has loaded a configuration" in own.log)
        assert {own.get("/api/v1/open/x").status_code for _ in range(20)} == {200}
        own.database.rmdir()
        away.rename(own.database)
        assert eventually(lambda: not set(before).intersection(own.workers))
        assert own.get("/api/v1/open/x").status_code == 200


def test_a_stop_ends_a_renewal_that_waits_for_the_database(seed: Seed, backend: Backend) -> None:
    with gateway(seed, backend) as own:
        own.database.unlink()
        own.database.mkdir()
        os.kill(own.pid, signal.SIGHUP)
        assert eventually(lambda: "accepts nothing before it has loaded a configuration" in own.log)
        own.terminate()
        assert own.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_during_a_renewal_is_a_stop(seed: Seed, backend: Backend, number: signal.Signals) -> None:
    """As `systemctl reload` and `stop`: a new worker is being started."""
    with gateway(seed, backend) as own:
        os.kill(own.pid, signal.SIGHUP)
        assert eventually(lambda: len(own.workers) > 1)
        os.kill(own.pid, number)
        assert own.wait() == 0
        assert "Traceback" not in own.log


def test_a_port_in_use_is_an_error(own: Server) -> None:
    second = Server()
    second.port = own.port
    with pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1:{own.port}: Address already in use"):
        second.start()
    second.close()
    assert own.get("/health").status_code == 200


@pytest.mark.parametrize("variable", ["PORT", "STAFF_PORT"])
def test_a_port_in_use_is_noticed_before_a_first_key_is_made(own: Server, variable: str, tmp_path: Path) -> None:
    """It would be shown once the gateway is ready, and never again."""
    ports = {"PORT": str(free_port()), variable: str(own.port)}
    environment = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "REDIS_URL": "", **ports}
    done = subprocess.run([*PYTHON, "serve"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{own.port}: Address already in use" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def _serves(gateway: Gateway) -> bool:
    """Connections that the killed worker has accepted, or is about to accept, cannot be saved."""
    try:
        return bool(gateway.get("/api/v1/open/x").status_code == 200)
    except requests.ConnectionError:
        return False


def test_a_killed_worker_is_replaced_while_the_other_serves(pair: Gateway) -> None:
    before = pair.workers
    os.kill(before[0], signal.SIGKILL)
    assert eventually(lambda: has_exited(before[0]))
    assert eventually(lambda: _serves(pair))
    assert eventually(lambda: len(pair.workers) == 2 and before[0] not in pair.workers)
    assert len(pair.connections()) == 2
    assert f"worker {before[0]} died (SIGKILL, as the kernel sends when memory runs out)" in pair.log


@pytest.mark.parametrize(
    "sent",
    [
        head(b"/api/v1/open/gone"),
        head(b"/api/v1/open/gone", b"Content-Length: 100000", method=b"POST") + b"a" * 100,
        head(b"/api/v1/open/gone", b"Transfer-Encoding: chunked", method=b"PUT") + b"3\r\nabc\r\n",
    ],
    ids=["a response", "an upload", "a chunked upload"],
)
def test_a_disconnect_cancels_the_call(single: Gateway, sent: bytes) -> None:
    came, left = threading.Event(), threading.Event()

    async def watches(peer: Peer) -> None:
        came.set()
        await peer.wait_closed()
        left.set()

    single.backend.scripts["/gone"] = watches
    before = single.log.count('"client_gone"')
    with single.connect() as connection:
        connection.sendall(sent)
        assert came.wait(20)
        assert not left.is_set()
    assert left.wait(CALLED_OFF)
    assert eventually(lambda: single.log.count('"client_gone"') > before)


def test_a_disconnect_during_the_response_cancels_the_call(single: Gateway) -> None:
    left = threading.Event()

    async def endless(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.wait_closed()
        left.set()

    single.backend.scripts["/amid"] = endless
    with single.get("/api/v1/open/amid", stream=True) as response:
        assert next(response.iter_content(1)) == b"a"
    assert left.wait(CALLED_OFF)
