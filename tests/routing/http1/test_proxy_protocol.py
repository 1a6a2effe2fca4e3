import asyncio
import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.http import Request, Response
from routing.http1 import proxy_protocol
from routing.http1.counted_connection import ConnectionLimit, CountedConnection
from routing.http1.proxy_protocol import MAX_V1_BYTES, ProxiedConnection, ProxyHeader, parse
from routing.messages.proxies import TrustedProxies
from tests.http1_client import MemoryTransport, Worker

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.8 192.0.2.80 51234 443\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"


def v2(source: str = "203.0.113.8", command: int = 0x21, extensions: bytes = b"", family: int | None = None) -> bytes:
    address = ip_address(source)
    family = family if family is not None else (0x11 if address.version == 4 else 0x21)
    body = address.packed * 2 + struct.pack("!HH", 51234, 443) + extensions
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


TLS = b"\x20" + struct.pack("!H", 5) + b"\x01\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("data", "client", "tls"),
    [
        (V1, ("203.0.113.8", 51234), False),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", ("2001:db8::1", 1), False),
        (b"PROXY TCP6 ::ffff:203.0.113.8 ::1 1 2\r\n", ("203.0.113.8", 1), False),
        (b"PROXY UNKNOWN\r\n", None, False),
        (b"PROXY UNKNOWN ff 00 1 2\r\n", None, False),
        (v2(), ("203.0.113.8", 51234), False),
        (v2("2001:db8::1"), ("2001:db8::1", 51234), False),
        (v2(extensions=TLS), ("203.0.113.8", 51234), True),
        (v2(extensions=b"\x04\x00\x01x" + TLS), ("203.0.113.8", 51234), True),
        (v2(command=0x20), None, False),
        (v2(family=0x00), None, False),
        (v2(family=0x12), None, False),
    ],
)
def test_a_header_names_the_client(data: bytes, client: tuple[str, int] | None, *, tls: bool) -> None:
    assert parse(data + GET) == ProxyHeader(len(data), client, tls)
    assert all(parse(data[:size]) is None for size in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        GET,
        b"PROXY TCP4 203.0.113.8 192.0.2.80 51234\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP4 203.0.113.8 192.0.2.80 x 443\r\n",
        b"PROXY TCP4 203.0.113.8 192.0.2.80 65536 443\r\n",
        b"PROXY TCP4  203.0.113.8 192.0.2.80 1 443\r\n",
        b"PROXY TCP4 \xff 192.0.2.80 1 443\r\n",
        b"PROXY UDP4 203.0.113.8 192.0.2.80 1 443\r\n",
        b"PROXY " + b"x" * MAX_V1_BYTES,
        v2(command=0x22),
        v2(command=0x11),
        SIGNATURE + b"\x21\x11\xff\xff",
        SIGNATURE + b"\x21\x11\x00\x04" + b"1234",
        v2(extensions=b"\x20\x00\x09\x01"),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of several parsers
        parse(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_are_refused(data: bytes) -> None:
    for start in (b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x10"):
        try:
            header = parse(start + data)
        except ValueError:
            continue
        assert header is None or header.size <= len(start + data)


class Scene:
    """A connection from `peer`, with 10.0.0.0/8 trusted."""

    def __init__(self, peer: str) -> None:
        self.requests: list[tuple[str, str]] = []
        self.worker = worker = Worker(self._handle)
        loop = asyncio.get_running_loop()
        proxies = TrustedProxies((ip_network("10.0.0.0/8"),))
        first = ProxiedConnection(proxies, lambda: CountedConnection(worker, loop, ConnectionLimit()), worker, loop)
        self.transport = MemoryTransport(peer)
        self.transport.protocol = first
        first.connection_made(self.transport)

    def _handle(self, request: Request) -> Response:
        self.requests.append((request.client, request.scheme))
        return Response(204)

    def send(self, data: bytes) -> None:
        assert self.transport.protocol is not None
        self.transport.protocol.data_received(data)


@pytest.mark.parametrize("header", [V1, v2()])
async def test_the_client_of_a_trusted_proxy_is_the_headers(header: bytes) -> None:
    scene = Scene("10.0.0.1")
    for byte in header[:-1]:
        scene.send(bytes([byte]))
    scene.send(header[-1:] + GET + GET)
    scene.send(GET)
    assert scene.requests == [("203.0.113.8", "http")] * 3


async def test_tls_ahead_of_the_proxy_makes_the_scheme_https() -> None:
    scene = Scene("10.0.0.1")
    scene.send(v2(extensions=TLS) + GET)
    assert scene.requests == [("203.0.113.8", "https")]


async def test_the_proxys_own_connection_has_its_own_address() -> None:
    scene = Scene("10.0.0.1")
    scene.send(v2(command=0x20) + GET)
    assert scene.requests == [("10.0.0.1", "http")]


async def test_another_peers_connection_is_plain_and_a_header_from_it_malformed() -> None:
    plain, forged = Scene("192.0.2.1"), Scene("192.0.2.1")
    plain.send(GET)
    assert plain.requests == [("192.0.2.1", "http")]
    forged.send(V1 + GET)
    assert forged.requests == []
    assert forged.transport.received.startswith(b"HTTP/1.1 400 ")


async def test_a_trusted_proxy_without_a_header_is_cut() -> None:
    scene = Scene("10.0.0.1")
    scene.send(GET)
    assert (scene.requests, scene.transport.aborted, scene.transport.received) == ([], True, b"")


async def test_a_header_counts_before_the_first_request_only() -> None:
    scene = Scene("10.0.0.1")
    scene.send(V1 + GET)
    scene.send(b"PROXY TCP4 6.6.6.6 192.0.2.80 1 443\r\n" + GET)
    assert scene.requests == [("203.0.113.8", "http")]


async def test_a_stopping_worker_waits_for_the_header_and_the_request() -> None:
    scene = Scene("10.0.0.1")
    scene.send(V1[:5])
    (waiting,) = scene.worker.connections
    scene.worker.draining = scene.worker.stopping = True
    waiting.shutdown()
    scene.send(V1[5:])
    assert scene.worker.connections == {scene.transport.protocol}
    scene.send(GET)
    assert scene.requests == [("203.0.113.8", "http")]
    assert scene.transport.closed


async def test_a_stopping_worker_does_not_wait_for_a_header_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_protocol, "SHUTDOWN_SECONDS", 0.0)
    scene = Scene("10.0.0.1")
    (waiting,) = scene.worker.connections
    waiting.shutdown()
    await asyncio.sleep(0.01)
    assert (scene.transport.aborted, scene.worker.connections) == (True, set())
