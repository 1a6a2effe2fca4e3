"""What the kernel is asked to do for connections whose other side takes nothing."""

import errno
import socket
import time

import pytest

from gateway_project.server.listen_sockets import bound, cut_the_deaf


def test_one_that_takes_nothing_is_cut_and_one_that_waits_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as deaf, socket.socket() as quiet:
        cut_the_deaf(listening, 1)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        accepted = []
        for client in (deaf, quiet):
            client.connect(listening.getsockname())
            accepted.append(listening.accept()[0])
        to_deaf, to_quiet = accepted
        with to_deaf, to_quiet:
            assert fill(to_deaf) == errno.ETIMEDOUT
            to_quiet.sendall(b"still here")
            assert quiet.recv(100) == b"still here"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_port_that_others_have_is_not_shared_with_them(workers: int) -> None:
    (first, *more) = bound("127.0.0.1", 0, workers)
    with first:
        first.listen()
        try:
            with pytest.raises(OSError, match="in use"):
                bound("127.0.0.1", first.getsockname()[1], workers)
        finally:
            for other in more:
                other.close()


def test_workers_sockets_are_one_port() -> None:
    sockets = bound("127.0.0.1", 0, 3)
    assert len({each.getsockname() for each in sockets}) == 1
    for each in sockets:
        each.close()


def test_one_that_died_leaves_its_connections_to_the_next() -> None:
    """As long as somebody holds its socket."""
    (first, second) = bound("127.0.0.1", 0, 2)
    with first, second:
        first.listen()
        with socket.create_connection(first.getsockname(), timeout=10) as client, first.dup() as successor:
            first.close()
            accepted, _ = successor.accept()
            with accepted:
                accepted.sendall(b"still here")
                assert client.recv(100) == b"still here"


def fill(connection: socket.socket) -> int | None:
    """Sends as long as it goes: the error that it ends with."""
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
