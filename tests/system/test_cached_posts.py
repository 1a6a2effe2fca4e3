"""A POST that reads over real sockets, with one worker and with two over a Redis: however its body arrives."""

import json
import socket
import uuid
from typing import Final

import pytest

from tests.processes import eventually
from tests.system.conftest import Gateway
from tests.system.wire import received

PATH: Final = "/api/v1/reads/echo"
SECONDS: Final = 10.0


def connect(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.server.port), SECONDS)


def request_head(gateway: Gateway, *fields: str) -> bytes:
    lines = [
        f"POST {PATH} HTTP/1.1",
        "Host: 127.0.0.1",
        f"X-API-Key: {gateway.seed.ours}",
        *fields,
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def exchange(gateway: Gateway, *pieces: bytes) -> tuple[str, bytes]:
    """X-Cache and the body of the response to a request that is sent in these pieces."""
    with connect(gateway) as client:
        for piece in pieces:
            client.sendall(piece)
        response = received(client)
    fields, _, body = response.partition(b"\r\n\r\n")
    cache = [
        line.partition(b": ")[2].decode() for line in fields.lower().split(b"\r\n") if line.startswith(b"x-cache:")
    ]
    return cache[0].upper() if cache else fields.split(b"\r\n")[0].decode(), body


def unique(**fields: str) -> bytes:
    return json.dumps({"channel": uuid.uuid4().hex, **fields}).encode()


def send(gateway: Gateway, body: bytes) -> tuple[str, bytes]:
    head = request_head(gateway, "Content-Type: application/json", f"Content-Length: {len(body)}")
    return exchange(gateway, head, body)


def test_every_worker_answers_a_repeated_one(either: Gateway) -> None:
    body = unique()
    assert send(either, body) == ("MISS", body)
    assert {send(either, body) for _ in range(20)} == {("HIT", body)}


def test_a_chunked_body_has_the_same_key(either: Gateway) -> None:
    body = unique()
    assert send(either, body) == ("MISS", body)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    fields = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    assert exchange(either, request_head(either, *fields), chunks) == ("HIT", body)


@pytest.mark.parametrize("expected", ["MISS", "HIT"])
def test_a_client_that_expects_100_is_told_to_continue(either: Gateway, expected: str) -> None:
    body = unique()
    if expected == "HIT":
        send(either, body)
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}", "Expect: 100-continue")
    with connect(either) as client:
        client.sendall(request_head(either, *fields))
        assert client.recv(12) == b"HTTP/1.1 100"
        client.sendall(body)
        response = received(client)
    assert f"x-cache: {expected.lower()}".encode() in response.lower()
    assert response.endswith(body)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_too_large_for_a_key_is_passed_on_whole(either: Gateway, framing: str) -> None:
    body = unique(note="x" * 100_000)
    fields = ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    sent = body
    if framing == "chunked":
        fields[1] = "Transfer-Encoding: chunked"
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for _ in range(2):
        assert exchange(either, request_head(either, *fields), sent) == ("BYPASS", body)


def test_a_body_of_64_kb_is_keyed(either: Gateway) -> None:
    body = unique(note="")
    body = body[:-2] + b"x" * (65_536 - len(body)) + body[-2:]
    assert send(either, body) == ("MISS", body)
    assert send(either, body) == ("HIT", body)


def test_a_body_that_drips_delays_nobody(either: Gateway) -> None:
    body = unique()
    with connect(either) as slow:
        fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
        slow.sendall(request_head(either, *fields) + body[:-1])
        assert send(either, body) == ("MISS", body)
        assert send(either, body) == ("HIT", body)
        slow.sendall(body[-1:])
        assert b"x-cache: hit" in received(slow).lower()


def test_a_client_that_leaves_its_body_unfinished_reaches_no_backend(either: Gateway) -> None:
    body, before = unique(), either.backend.request_count("/echo")
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    with connect(either) as client:
        client.sendall(request_head(either, *fields) + body[:-1])
    eventually(lambda: send(either, body) == ("HIT", body))
    assert either.backend.request_count("/echo") == before + 1
