"""The listening sockets: their port, and the timeout of connections whose peer acknowledges nothing."""

import errno
import socket
import time

import pytest

from gateway_project.server.listen_sockets import bind, set_tcp_user_timeout


def test_a_stalled_connection_is_dropped_and_an_idle_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as stalled, socket.socket() as idle:
        set_tcp_user_timeout(listening, 1)
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        accepted = []
        for client in (stalled, idle):
            client.connect(listening.getsockname())
            accepted.append(listening.accept()[0])
        to_stalled, to_idle = accepted
        with to_stalled, to_idle:
            assert fill(to_stalled) == errno.ETIMEDOUT
            to_idle.sendall(b"still here")
            assert idle.recv(100) == b"still here"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_port_in_use_by_another_process_is_refused(workers: int) -> None:
    (first, *more) = bind("127.0.0.1", 0, workers)
    with first:
        first.listen()
        try:
            with pytest.raises(OSError, match="in use"):
                bind("127.0.0.1", first.getsockname()[1], workers)
        finally:
            for other in more:
                other.close()


def test_all_workers_listen_on_the_same_port() -> None:
    sockets = bind("127.0.0.1", 0, 3)
    assert len({each.getsockname() for each in sockets}) == 1
    for each in sockets:
        each.close()


def test_the_replacement_of_a_dead_worker_accepts_its_pending_connections() -> None:
    """As long as another process has the socket open."""
    (first, second) = bind("127.0.0.1", 0, 2)
    with first, second:
        first.listen()
        with socket.create_connection(first.getsockname(), timeout=10) as client, first.dup() as successor:
            first.close()
            accepted, _ = successor.accept()
            with accepted:
                accepted.sendall(b"still here")
                assert client.recv(100) == b"still here"


def fill(connection: socket.socket) -> int | None:
    """Send until an error occurs, and return it."""
    connection.setblocking(False)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            connection.send(bytes(65_536))
        except BlockingIOError:
            time.sleep(0.05)
        except OSError as error:
            return error.errno
    return None
