"""The connection of a WebSocket to a backend that sends many frames at once."""

import asyncio
from collections import Counter

import pytest
from websockets.client import ClientProtocol
from websockets.uri import parse_uri
from websockets.utils import accept_key

from routing.realtime import piecewise
from routing.realtime.backend_handshake import MAX_QUEUED_MESSAGES
from routing.realtime.backend_socket import PIECE_BYTES, BackendSocket
from tests.http1_client import MemoryTransport

EMPTY_TEXT = b"\x81\x00"
PING = b"\x89\x00"
PONG = 0x8A
FRAME_BYTES = 6
"""Of an empty frame that a client sends: two of the header, and the mask."""


class Transport(MemoryTransport):
    """May be paused and resumed twice, as those of asyncio and uvloop."""

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """All is written at once."""


class Peer:
    """A backend that has accepted the handshake."""

    def __init__(self, ping_interval: float | None = None) -> None:
        self.transport = Transport()
        protocol = ClientProtocol(parse_uri("ws://backend/"))
        self.socket = BackendSocket(protocol, max_queue=MAX_QUEUED_MESSAGES, ping_interval=ping_interval)
        self.socket.ping_timeout = ping_interval
        self.socket.connection_made(self.transport)
        request = protocol.connect()
        protocol.send_request(request)
        accept = accept_key(request.headers["Sec-WebSocket-Key"])
        fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
        self.socket.data_received(f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n".encode())
        self.transport.received = b""


def text(number: int) -> bytes:
    content = str(number).encode()
    return bytes((0x81, len(content))) + content


async def test_messages_that_were_not_taken_are_not_parsed() -> None:
    peer = Peer()
    peer.socket.data_received(b"".join(map(text, range(20_000))))
    assert len(peer.socket.recv_messages.frames) <= PIECE_BYTES // 2
    assert not peer.transport.reading
    peer.socket.data_received(text(20_000))  # a transport may have read more before it was paused
    assert [await peer.socket.recv() for _ in range(20_001)] == [str(number) for number in range(20_001)]
    assert peer.transport.reading


async def test_frames_without_a_message_let_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piecewise, "TURN_SECONDS", 0.0)
    peer = Peer()
    peer.socket.data_received(PING * 10_000 + text(1))
    assert peer.socket.pings <= PIECE_BYTES // 2
    assert not peer.transport.reading
    assert await peer.socket.recv() == "1"
    assert peer.socket.pings == 10_000
    await asyncio.sleep(0)
    assert peer.transport.reading


async def test_what_is_left_when_the_connection_ends_is_dropped() -> None:
    peer = Peer()
    peer.socket.data_received(EMPTY_TEXT * 100_000)
    peer.transport.protocol = peer.socket
    peer.transport.close()
    assert len(peer.socket.recv_messages.frames) <= PIECE_BYTES // 2
    await asyncio.sleep(0)
    assert not peer.transport.reading


async def test_a_backend_that_answers_no_ping_for_a_while_is_still_there() -> None:
    peer = Peer(ping_interval=0.02)
    peer.socket.start_keepalive()
    heartbeats = peer.socket.keepalive_task
    await asyncio.sleep(0.3)
    sent = Counter(peer.transport.received[start] for start in range(0, len(peer.transport.received), FRAME_BYTES))
    assert set(sent) == {PONG}
    assert sent[PONG] > 1
    peer.socket.data_received(text(1))
    assert await peer.socket.recv() == "1"
    peer.transport.protocol = peer.socket
    peer.transport.close()
    await asyncio.sleep(0)
    assert heartbeats is not None
    await asyncio.wait([heartbeats], timeout=1)
    assert heartbeats.done()
