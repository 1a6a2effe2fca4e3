"""RFC 6455 against a real gateway: a WebSocket to an echo service, and the one of events.

The cases are those of the Autobahn suite's chapters 1 to 7 and 9: framing, pings, reserved bits and opcodes,
fragmentation, UTF-8, closing, limits. What the server in front does not let us decide is in docs/realtime.md.
"""

from collections.abc import Iterator

import pytest

from tests.processes import eventually
from tests.system.conftest import Seed
from tests.system.echo import echo
from tests.system.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, Wire, closing, frame
from tests.system.server import Server, document

PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1002, 1007, 1009
SIZES = [0, 1, 125, 126, 127, 128, 65_535, 65_536, 1_000_000]
NOT_TEXT = [
    b"\xff",
    b"\xc0\xaf",  # a slash in two bytes
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xf4\x90\x80\x80",  # beyond the last code point
    b"\xf8\x88\x80\x80\x80",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    b"cut off \xe2\x82",
]
TEXTS = ["κόσμε", "\x00", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U0010ffff"]


@pytest.fixture(scope="module")
def server(seed: Seed) -> Iterator[Server]:
    with echo() as port:
        made = Server(seed=seed.database)
        file = made.directory / "gateway.yaml"
        target = {"url": f"http://127.0.0.1:{port}"}
        service = {"targets": [target], "auth": "none", "websocket": True, "rate_limit": "1000000/m"}
        file.write_text(document({"echo": service}))
        made.environment |= {"GATEWAY_CONFIG": str(file), "RATE_LIMIT": "1000000/m"}
        with made:
            yield made


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with Wire(server, "/api/v1/echo/") as opened:
        yield opened


@pytest.fixture
def events(server: Server, seed: Seed) -> Iterator[Wire]:
    with Wire(server, "/ws/events/", f"X-API-Key: {seed.ours}") as opened:
        yield opened


@pytest.mark.parametrize("path", ["/api/v1/echo/", "/ws/events/"])
@pytest.mark.parametrize("version", [b"", b"Sec-WebSocket-Version: 8\r\n", b"Sec-WebSocket-Version: 13, 8\r\n"])
def test_the_refusal_of_another_version_names_the_supported_one(server: Server, path: str, version: bytes) -> None:
    """RFC 6455 section 4.4."""
    request = (
        b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + version + b"\r\n"
    )
    with server.connect() as connection:
        connection.sendall(request)
        response = b"".join(iter(lambda: connection.recv(65_536), b"")).lower()
    assert response.startswith(b"http/1.1 426 ")
    assert b"\r\nsec-websocket-version: 13\r\n" in response
    assert b"\r\nconnection: upgrade\r\n" in response


@pytest.mark.parametrize(
    ("path", "fields", "status"),
    [
        ("/ws/events/", b"Content-Length: 2\r\n", 400),
        ("/ws/events/", b"Transfer-Encoding: chunked\r\n", 400),
        ("/ws/events/", b"X-One: a\r\n" * 200, 431),
        ("/ws/events/", b"X-One: a\r\n" * 110, 431),
        ("/ws/events/", b"X-Long: " + b"a" * 20_000 + b"\r\n", 101),
        ("/ws/events/", b"Origin: http://evil.test\r\n", 403),
        ("/api/v1/echo/", b"X-Long: " + b"a" * 40_000 + b"\r\n", 431),
        ("/api/v1/echo/%2e%2e/x", b"", 400),
    ],
)
def test_a_handshake_that_cannot_be_accepted_has_its_status(
    server: Server, path: str, fields: bytes, status: int
) -> None:
    request = (
        b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + fields + b"\r\n"
    )
    with server.connect() as connection:
        connection.sendall(request)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 %d " % status)
        if status != 101:
            assert eventually(lambda: not connection.recv(65_536))


def test_the_handshake_response_has_the_accept_value_of_the_key(wire: Wire) -> None:
    """The example of RFC 6455 section 1.3."""
    assert wire.head.startswith(b"HTTP/1.1 101 ")
    assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in wire.head.lower()


@pytest.mark.parametrize("kind", [TEXT, BINARY])
@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_any_length_is_echoed(wire: Wire, kind: int, size: int) -> None:
    wire.send(frame(kind, b"*" * size))
    assert wire.read() == Frame(kind, b"*" * size)


@pytest.mark.parametrize("size", [0, 1, 3, 16, 1_000])
def test_a_fragmented_message_is_assembled(wire: Wire, size: int) -> None:
    chunks = [b"x" * size for _ in range(5)]
    wire.send(frame(TEXT, chunks[0], end=False))
    wire.send(*(frame(CONTINUATION, chunk, end=False) for chunk in chunks[1:-1]), frame(CONTINUATION, chunks[-1]))
    assert wire.read() == Frame(TEXT, b"".join(chunks))


def test_frames_may_arrive_one_byte_at_a_time(wire: Wire) -> None:
    wire.send(*(bytes([byte]) for byte in frame(TEXT, b"a byte at a time")))
    assert wire.read() == Frame(TEXT, b"a byte at a time")


@pytest.mark.parametrize("payload", [b"", b"hello", b"\x00\xff\xfe", b"x" * 125])
def test_a_pong_has_the_payload_of_the_ping(wire: Wire, payload: bytes) -> None:
    wire.send(frame(PING, payload))
    assert wire.read() == Frame(PONG, payload)


def test_a_ping_between_fragments_receives_a_pong_before_the_message_is_complete(wire: Wire) -> None:
    wire.send(frame(TEXT, b"one ", end=False), frame(PING, b"now"))
    assert wire.read() == Frame(PONG, b"now")
    wire.send(frame(PONG, b"unsolicited"), frame(CONTINUATION, b"message"))
    assert wire.read() == Frame(TEXT, b"one message")


def test_ten_pings_receive_pongs_in_order(wire: Wire) -> None:
    wire.send(b"".join(frame(PING, b"%d" % number) for number in range(10)), frame(TEXT, b"end"))
    pongs = []
    while (got := wire.read()).kind == PONG:
        pongs.append(got.payload)
    assert got == Frame(TEXT, b"end")
    assert pongs == sorted(pongs)
    assert pongs[-1] == b"9"  # RFC 6455 section 5.5.3: only the latest must be


@pytest.mark.parametrize(
    "chunks",
    [pytest.param([frame(TEXT, b"x", reserved=bits)], id=f"reserved bits {bits}") for bits in range(1, 8)]
    + [pytest.param([frame(kind, b"x")], id=f"opcode {kind}") for kind in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)]
    + [
        pytest.param([frame(PING, b"x" * 126)], id="a ping of 126 bytes"),
        pytest.param([closing(1000, b"x" * 124)], id="a close of 126 bytes"),
        pytest.param([frame(PING, b"x", end=False), frame(CONTINUATION)], id="a ping in fragments"),
        pytest.param([frame(CLOSE, b"", end=False), frame(CONTINUATION)], id="a close in fragments"),
        pytest.param([frame(CONTINUATION, b"of nothing")], id="a continuation of nothing"),
        pytest.param([frame(CONTINUATION, b"of nothing", end=False)], id="an unfinished continuation of nothing"),
        pytest.param([frame(TEXT, b"x", end=False), frame(TEXT, b"y")], id="a message within a message"),
        pytest.param([frame(TEXT, b"x", mask=None)], id="a frame without a mask"),
        pytest.param([frame(PING, b"x", mask=None)], id="a ping without a mask"),
        pytest.param([frame(CLOSE, b"\x03")], id="half of a close code"),
    ],
)
def test_a_protocol_violation_closes_the_connection(wire: Wire, chunks: list[bytes]) -> None:
    wire.send(b"".join(chunks))  # in one write: data after the close would make the kernel reset the connection
    assert wire.code() == PROTOCOL_ERROR
    assert wire.ends()


@pytest.mark.parametrize("text", TEXTS)
def test_any_valid_utf8_is_text(wire: Wire, text: str) -> None:
    wire.send(frame(TEXT, text.encode()))
    assert wire.read() == Frame(TEXT, text.encode())


def test_a_character_may_be_split_between_fragments(wire: Wire) -> None:
    data = "κόσμε \U0001f600".encode()
    chunks = [bytes([byte]) for byte in data]
    wire.send(frame(TEXT, chunks[0], end=False), *(frame(CONTINUATION, chunk, end=False) for chunk in chunks[1:]))
    wire.send(frame(CONTINUATION))
    assert wire.read() == Frame(TEXT, data)


@pytest.mark.parametrize("data", NOT_TEXT)
@pytest.mark.parametrize("split", [False, True])
def test_invalid_utf8_closes_the_connection(wire: Wire, data: bytes, split: bool) -> None:
    if split:
        wire.send(frame(TEXT, data[:1], end=False) + frame(CONTINUATION, data[1:]))
    else:
        wire.send(frame(TEXT, data))
    assert wire.code() == NOT_UTF8
    assert wire.ends()


def test_invalid_utf8_closes_the_connection_before_the_message_is_complete(wire: Wire) -> None:
    wire.send(frame(TEXT, b"\xce\xba\xff", end=False))
    assert wire.code() == NOT_UTF8


def test_invalid_utf8_is_valid_in_a_binary_message(wire: Wire) -> None:
    wire.send(frame(BINARY, b"\xff\xfe"))
    assert wire.read() == Frame(BINARY, b"\xff\xfe")


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
def test_a_close_is_echoed_with_its_code(wire: Wire, code: int) -> None:
    wire.send(closing(code, "auf Wiedersehen ☺".encode()))
    assert wire.code() == code
    assert wire.ends()


def test_a_close_may_have_no_code(wire: Wire) -> None:
    wire.send(closing())
    assert wire.code() == 1005
    assert wire.ends()


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1100, 2000, 2999, 5000, 65_535])
def test_an_invalid_close_code_is_not_echoed(wire: Wire, code: int) -> None:
    wire.send(closing(code))
    assert wire.code() == PROTOCOL_ERROR
    assert wire.ends()


def test_a_close_reason_with_invalid_utf8_closes_the_connection(wire: Wire) -> None:
    wire.send(closing(1000, b"\xff\xff"))
    assert wire.code() == NOT_UTF8
    assert wire.ends()


def test_frames_after_a_close_are_ignored(wire: Wire) -> None:
    wire.send(closing(1000) + frame(TEXT, b"too late") + frame(PING, b"too late"))
    assert wire.read().kind == CLOSE
    assert wire.ends()


def test_a_message_over_the_limit_closes_the_socket(wire: Wire) -> None:
    wire.send(frame(BINARY, b"x" * 1_048_577))
    assert wire.code() == TOO_BIG


def test_the_limit_applies_to_the_message_not_to_a_fragment(wire: Wire) -> None:
    wire.send(frame(BINARY, b"x" * 600_000, end=False), frame(CONTINUATION, b"x" * 600_000))
    assert wire.code() == TOO_BIG


def test_a_message_over_the_limit_of_events_closes_the_socket(events: Wire) -> None:
    events.send(frame(TEXT, b"x" * 4_097))
    assert events.code() == TOO_BIG


def test_the_events_socket_handles_fragments_control_frames_and_close(events: Wire) -> None:
    events.send(frame(TEXT, b'{"type":', end=False), frame(PING, b"p"), frame(CONTINUATION, b'"ping"}'))
    assert events.read() == Frame(PONG, b"p")
    assert events.read().payload.startswith(b'{"type":"pong"')
    events.send(closing(1000, b"bye"))
    assert events.code() == 1000
    assert events.ends()


def test_the_events_socket_responds_to_a_binary_message_with_an_error(events: Wire) -> None:
    events.send(frame(BINARY, b"{}"))
    assert b'"bad_message"' in events.read().payload


@pytest.mark.parametrize(
    ("breach", "code"),
    [
        (frame(TEXT, b"\xff"), NOT_UTF8),
        (frame(3), PROTOCOL_ERROR),
        (frame(TEXT, b"x", mask=None), PROTOCOL_ERROR),
        (closing(1005), PROTOCOL_ERROR),
    ],
)
def test_a_protocol_violation_closes_the_events_socket(events: Wire, breach: bytes, code: int) -> None:
    events.send(breach)
    assert events.code() == code
    assert events.ends()
