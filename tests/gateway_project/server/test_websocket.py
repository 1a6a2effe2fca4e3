"""WebSockets: a connection that is lost before the application knows, floods of frames, and the server's end."""

import asyncio
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState
from websockets.protocol import State

from gateway_project.server.websocket import MAX_FRAGMENTS, MAX_PINGS, PIECE_BYTES, WebSocket
from routing.realtime import piecewise
from routing.realtime.handshake import PINGS_EXTENSION
from tests.http1_client import MemoryTransport
from tests.resilience.cache.entries import until
from tests.system.frames import CLOSE, CONTINUATION, PING, TEXT, closing, frame


class LostTransport:
    """Refuses to write, as uvloop's does once the peer has closed the connection."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        raise RuntimeError("unable to perform operation on a closed transport")


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Never called."""


async def test_a_message_to_a_lost_connection_is_dropped_without_an_error() -> None:
    """The hub writes an event to one subscriber after the other: an error would keep it from the others."""
    config = uvicorn.Config(application, log_config=None)
    websocket = WebSocket(config, ServerState(), {}, asyncio.get_running_loop())
    websocket.transport = cast(asyncio.Transport, LostTransport())
    websocket.handshake_complete = True
    websocket.conn.state = State.OPEN
    sent = websocket.send({"type": "websocket.send", "text": "event"})
    await sent


HANDSHAKE = b"\r\n".join(
    [
        b"GET /ws HTTP/1.1",
        b"Host: h",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"",
        b"",
    ]
)


async def test_the_application_can_see_how_many_pings_the_client_has_sent() -> None:
    counts = []

    async def count_pings(scope: Any, receive: Any, send: Any) -> None:
        count = scope["extensions"][PINGS_EXTENSION]["count"]
        await receive()
        await send({"type": "websocket.accept"})
        for _ in range(3):
            counts.append(count())
            await receive()

    config = uvicorn.Config(count_pings, log_config=None, lifespan="off")
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: WebSocket(config, ServerState(), {}, loop), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        for pings in (1, 2):
            await until(lambda read=pings: len(counts) == read)
            writer.write(frame(PING) * pings)
            assert await reader.readexactly(2 * pings) == b"\x8a\x00" * pings
            writer.write(frame(TEXT, b"next"))
        await until(lambda: len(counts) == 3)
        writer.close()
    assert counts == [0, 1, 3]


class Peer:
    """The client of a WebSocket to an application that records messages once `may_receive` is set."""

    def __init__(self, data: bytes = HANDSHAKE) -> None:
        self.transport, self.messages = MemoryTransport(), list[Any]()
        self.may_accept, self.may_receive = asyncio.Event(), asyncio.Event()
        config = uvicorn.Config(self._application, log_config=None, lifespan="off", interface="asgi3")
        config.load()
        self.socket = WebSocket(config, ServerState(), {}, asyncio.get_running_loop())
        self.socket.connection_made(self.transport)
        self.socket.data_received(data)

    async def open(self) -> None:
        self.may_accept.set()
        await self.settle()
        self.transport.received = b""

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await self.may_accept.wait()
        await send({"type": "websocket.accept"})
        await self.may_receive.wait()
        while (message := await receive())["type"] != "websocket.disconnect":
            self.messages.append(message.get("text"))
            if message.get("text") == "bye":
                await send({"type": "websocket.close", "code": 1000})
                return
        self.messages.append(message["code"])

    @property
    def close_code(self) -> int | None:
        """The code of the close frame at the end of what was written."""
        data = self.transport.received
        start = data.rfind(bytes([0x80 | CLOSE]))
        return int.from_bytes(data[start + 2 : start + 4], "big") if start >= 0 else None


async def test_a_flood_of_pings_closes_the_connection() -> None:
    peer = Peer()
    peer.may_receive.set()
    await peer.open()
    peer.socket.data_received(frame(PING) * MAX_PINGS)
    assert peer.transport.received == b"\x8a\x00" * MAX_PINGS
    peer.socket.data_received(frame(PING) * 40_000)
    await peer.settle()
    assert peer.close_code == 1008
    assert peer.transport.closed
    assert len(peer.transport.received) < 2 * PIECE_BYTES
    assert peer.messages == [1008]


async def test_only_the_latest_ping_is_answered_once_the_client_reads() -> None:
    peer = Peer()
    await peer.open()
    peer.socket.pause_writing()
    for payload in (b"1", b"2", b"3"):
        peer.socket.data_received(frame(PING, payload))
    assert peer.transport.received == b""
    peer.socket.resume_writing()
    assert peer.transport.received == b"\x8a\x013"
    peer.socket.pause_writing()
    peer.socket.resume_writing()
    assert peer.transport.received == b"\x8a\x013"


async def test_messages_that_were_not_received_are_not_parsed() -> None:
    peer = Peer()
    await peer.open()
    texts = [str(number) for number in range(2_000)]
    peer.socket.data_received(b"".join(frame(TEXT, text.encode()) for text in texts))
    assert peer.socket.queue.qsize() < PIECE_BYTES / 7
    assert not peer.transport.reading
    peer.may_receive.set()
    await until(lambda: len(peer.messages) == len(texts))
    assert peer.messages == texts
    assert peer.transport.reading


async def test_frames_without_a_message_let_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piecewise, "TURN_SECONDS", 0.0)
    peer = Peer()
    peer.may_receive.set()
    await peer.open()
    parts = [frame(TEXT, b"a", end=False), *[frame(CONTINUATION, b"b", end=False)] * 2_000, frame(CONTINUATION)]
    peer.socket.data_received(b"".join(parts))
    assert len(peer.socket.frames) < PIECE_BYTES / 7
    assert not peer.transport.reading
    await until(lambda: bool(peer.messages))
    assert peer.messages == ["a" + "b" * 2_000]
    assert peer.transport.reading


async def test_fragments_are_limited() -> None:
    peer = Peer()
    peer.may_receive.set()
    await peer.open()
    peer.socket.data_received(frame(TEXT, b"a", end=False) + frame(CONTINUATION, end=False) * (MAX_FRAGMENTS + 1))
    await until(lambda: peer.transport.closed)
    assert peer.close_code == 1009


async def test_what_a_client_sends_before_it_knows_of_a_close_does_not_hide_its_own() -> None:
    peer = Peer()
    peer.may_receive.set()
    await peer.open()
    peer.socket.data_received(frame(TEXT, b"bye") + frame(TEXT, b"more") * 1_000)
    await peer.settle()
    assert peer.close_code == 1000
    peer.socket.data_received(closing(1000))
    await until(lambda: peer.transport.closed)
    assert peer.messages == ["bye"]


@pytest.mark.parametrize(
    ("early", "close_code", "messages"),
    [
        (frame(PING) + frame(TEXT, b"early"), None, ["early"]),
        (frame(TEXT, b"early") + closing(1000), 1000, ["early", 1000]),
        (closing(1000), 1000, [1000]),
        (b"\x81\x02hi", 1002, [1002]),  # not masked
        (b"GET / HTTP/1.1\r\n\r\n", 1002, [1002]),
    ],
)
@pytest.mark.parametrize("is_one_read", [True, False])
async def test_frames_before_the_response_to_the_handshake_are_parsed_after_it(
    early: bytes, close_code: int | None, messages: list[Any], is_one_read: bool
) -> None:
    peer = Peer(HANDSHAKE + early if is_one_read else HANDSHAKE)
    peer.may_receive.set()
    await peer.settle()
    if not is_one_read:
        peer.socket.data_received(early)
    await peer.settle()
    assert peer.transport.received == b""
    peer.may_accept.set()
    await until(lambda: peer.messages == messages)
    assert peer.transport.received.startswith(b"HTTP/1.1 101 ")
    assert peer.close_code == close_code


async def test_a_handshake_ends_before_the_server_does() -> None:
    peer = Peer()
    peer.may_receive.set()
    await peer.settle()
    peer.socket.shutdown()
    assert not peer.transport.closed
    peer.may_accept.set()
    await peer.settle()
    assert peer.transport.received.startswith(b"HTTP/1.1 101 ")
    assert peer.close_code == 1012
    assert peer.transport.closed
    assert peer.messages == [1012]


async def test_a_refusal_is_no_error_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 429, "headers": [(b"retry-after", b"7")]})
        await send({"type": "websocket.http.response.body", "body": b"wait"})

    transport = MemoryTransport()
    config = uvicorn.Config(refuse, log_config=None, lifespan="off", interface="asgi3")
    config.load()
    socket = WebSocket(config, ServerState(), {}, asyncio.get_running_loop())
    socket.connection_made(transport)
    socket.data_received(HANDSHAKE)
    await until(lambda: transport.closed)
    assert transport.received.startswith(b"HTTP/1.1 429 ")
    assert transport.received.endswith(b"\r\n\r\nwait")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("sent", "version", "messages", "status"),
    [
        ([b"X-Request-ID: mine"], b"13", [{"type": "websocket.accept"}], b"101"),
        ([b"X-Request-ID: mine"], b"13", [{"type": "websocket.close"}], b"403"),
        ([b"X-Request-ID: mine"], b"8", [], b"426"),
        ([], b"13", [{"type": "websocket.accept"}], b"101"),
        ([b"X-Request-ID: not well formed"], b"13", [{"type": "websocket.accept"}], b"101"),
        ([b"X-Request-ID: one", b"X-Request-ID: two"], b"13", [{"type": "websocket.accept"}], b"101"),
    ],
)
async def test_the_response_to_a_handshake_bears_the_id_that_the_application_reads(
    sent: list[bytes], version: bytes, messages: list[dict[str, Any]], status: bytes
) -> None:
    read: list[list[bytes]] = []

    async def respond(scope: Any, receive: Any, send: Any) -> None:
        read.append([value for name, value in scope["headers"] if name == b"x-request-id"])
        await receive()
        for message in messages:
            await send(message)

    config = uvicorn.Config(respond, log_config=None, lifespan="off")
    config.load()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: WebSocket(config, ServerState(), {}, loop), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        head = HANDSHAKE.removesuffix(b"\r\n\r\n").replace(b"Version: 13", b"Version: %b" % version)
        writer.write(b"\r\n".join([head, *sent, b"", b""]))
        received = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        writer.close()
    found = [line.partition(b": ")[2] for line in received if line.lower().startswith(b"x-request-id: ")]
    assert received[0].split(b" ")[1] == status
    assert len(found) == 1
    assert (found == [b"mine"]) == (sent == [b"X-Request-ID: mine"])
    assert found[0] not in (b"", b"not well formed", b"one", b"two")
    assert read == ([found] if messages else [])
