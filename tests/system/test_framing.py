"""The framing of responses: no body where there must be none, and no buffering of streams."""

import asyncio
import threading

import pytest

from tests.origin import Peer
from tests.system.conftest import Gateway
from tests.system.wire import head, send


@pytest.mark.parametrize("length", [b"Content-Length: 10\r\n", b""])
def test_head_has_the_content_length_of_get_and_no_body(single: Gateway, length: bytes) -> None:
    single.backend.scripts["/head"] = b'HTTP/1.1 200 OK\r\nETag: "1"\r\n' + length + b"\r\n"
    raw = send(single.server, head(b"/api/v1/open/head", method=b"HEAD"))
    assert (raw.status, raw.body) == (200, b"")
    assert raw.field("content-length") == (b"10" if length else None)


def test_head_also_for_the_gateways_errors(single: Gateway) -> None:
    raw = send(single.server, head(b"/api/v1/plain/x", method=b"HEAD"))
    assert (raw.status, raw.body) == (401, b"")
    assert int(raw.field("content-length") or 0) > 100


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_response_without_a_body_has_no_framing(single: Gateway, status: bytes) -> None:
    single.backend.scripts["/none"] = b"HTTP/1.1 " + status + b"\r\n\r\n"
    raw = send(single.server, head(b"/api/v1/open/none"))
    assert (raw.status, raw.body) == (int(status[:3]), b"")
    assert raw.field("transfer-encoding") is None
    assert raw.field("content-length") is None


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
END = b"0\r\n\r\n"


def test_a_body_of_unknown_length_is_chunked(single: Gateway) -> None:
    async def goes_on(peer: Peer) -> None:
        await peer.send(CHUNKED)
        await asyncio.sleep(0.2)
        await peer.send(END)

    single.backend.scripts["/chunks"] = goes_on
    raw = send(single.server, head(b"/api/v1/open/chunks"))
    assert raw.field("transfer-encoding") == b"chunked"
    assert raw.body.endswith(b"\r\n" + END)


def test_a_buffered_body_is_sent_with_its_length(single: Gateway) -> None:
    single.backend.scripts["/buffered"] = CHUNKED + END
    raw = send(single.server, head(b"/api/v1/open/buffered"))
    assert (raw.field("content-length"), raw.field("transfer-encoding"), raw.body) == (b"2", None, b"ab")


@pytest.mark.parametrize("more", [{}, {"data": "abc"}])
def test_each_chunk_is_forwarded_before_the_next_arrives(single: Gateway, more: dict[str, str]) -> None:
    """The backend sends its second chunk only when the client has the first."""
    seen = threading.Event()

    async def waits(peer: Peer) -> None:
        await peer.read_body()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.to_thread(seen.wait, 20)
        await peer.send(b"1\r\nb\r\n0\r\n\r\n")

    single.backend.scripts["/chunks"] = waits
    with single.request("POST" if more else "GET", "/api/v1/open/chunks", stream=True, **more) as response:
        chunks = response.iter_content(chunk_size=None)
        assert next(chunks) == b"a"
        seen.set()
        assert b"".join(chunks) == b"b"


def test_an_upload_is_forwarded_while_it_is_sent(single: Gateway) -> None:
    arrived = threading.Event()

    async def listens(peer: Peer) -> None:
        await peer.reader.readuntil(b"first\r\n")
        arrived.set()
        await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    single.backend.scripts["/upload"] = listens
    with single.connect() as connection:
        connection.sendall(head(b"/api/v1/open/upload", b"Transfer-Encoding: chunked", method=b"PUT"))
        connection.sendall(b"5\r\nfirst\r\n")
        assert arrived.wait(20)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")


def test_interim_responses_reach_clients_of_http_1_1(single: Gateway) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    single.backend.scripts["/hints"] = hints + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    raw = send(single.server, head(b"/api/v1/open/hints"))
    hinted = b"HTTP/1.1 103 Early Hints\r\nlink: </api/v1/open/a.css>; rel=preload\r\n\r\n"
    assert raw.data.startswith(hinted + b"HTTP/1.1 200 OK\r\n")
    old = send(single.server, b"GET /api/v1/open/hints HTTP/1.0\r\n\r\n")
    assert old.data.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_204_of_a_page_has_no_length(single: Gateway) -> None:
    raw = send(single.server, head(b"*", method=b"OPTIONS"))
    assert (raw.status, raw.field("content-length")) == (204, None)
