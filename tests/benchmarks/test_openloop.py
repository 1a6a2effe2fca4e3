"""The schedule, and that a server's stall delays every request that was due in it."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.openloop import OpenLoopClient, due_at, encode_request

RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STALL = 0.3


@contextmanager
def server(response: Callable[[int], bytes]) -> Iterator[str]:
    """A server for one connection that sends `response(number)` to each request."""

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            number = 0
            while connection.recv(65_536):
                connection.sendall(response(number))
                number += 1

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/x"
        thread.join(10)


def test_requests_are_due_at_even_intervals() -> None:
    assert [due_at(number, 100.0, 4) for number in range(4)] == [100.0, 100.25, 100.5, 100.75]


def test_a_request_has_host_and_api_key() -> None:
    asked = encode_request("http://127.0.0.1:9/a/b?c=1", "gw_1")
    assert asked == b"GET /a/b?c=1 HTTP/1.1\r\nHost: 127.0.0.1:9\r\nX-API-Key: gw_1\r\n\r\n"


def test_every_scheduled_request_is_timed() -> None:
    with server(lambda _: RESPONSE) as url, OpenLoopClient(url, "", connections=1) as players:
        played = players.run(200, 40)
    assert (len(played.latencies), len(played.delays), played.errors) == (40, 40, 0)
    assert all(latency > 0 for latency in played.latencies)


def test_a_stall_delays_all_requests_due_in_it() -> None:
    """At 100 a second, a stall of 0.3 s delays thirty requests: a waiting client would see one slow response."""

    def stalling(number: int) -> bytes:
        if number == 6:  # the first request only opens the connection
            time.sleep(STALL)
        return RESPONSE

    with server(stalling) as url, OpenLoopClient(url, "", connections=1) as players:
        played = players.run(100, 60)
    assert sum(latency > STALL / 2 for latency in played.latencies) >= 10
    assert max(played.latencies) >= STALL


def test_responses_with_another_status_are_counted() -> None:
    refusal = RESPONSE.replace(b"200 OK", b"429 Too Many")
    with (
        server(lambda number: refusal if number == 3 else RESPONSE) as url,
        OpenLoopClient(url, "", connections=1) as players,
    ):
        assert players.run(200, 10).errors == 1


def test_a_response_in_several_pieces_is_read_completely() -> None:
    pieces = [RESPONSE[:9], RESPONSE[9:30], RESPONSE[30:]]

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            while connection.recv(65_536):
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.01)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with OpenLoopClient(f"http://127.0.0.1:{listening.getsockname()[1]}/x", "", connections=1) as players:
            played = players.run(10, 3)
        thread.join(10)
    assert len(played.latencies) == 3
    assert min(played.latencies) > 0.01


@pytest.mark.parametrize(
    ("response", "error"), [(b"HTTP/1.1 200 OK\r\n\r\n", ValueError), (b"", ConnectionError)], ids=["no length", "gone"]
)
def test_an_invalid_response_ends_the_run(response: bytes, error: type[Exception]) -> None:
    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        players = OpenLoopClient(f"http://127.0.0.1:{listening.getsockname()[1]}/x", "", connections=1)
        with pytest.raises(error), players:
            pass
        thread.join(10)
