"""What the kernel is asked to do for connections whose other side takes nothing."""

import errno
import socket
import time

from gateway_project.listening import cut_the_deaf


def test_one_that_takes_nothing_is_cut_and_one_that_waits_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as deaf, socket.socket() as quiet:
        assert cut_the_deaf(1) >= 1
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
