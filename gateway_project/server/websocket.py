"""uvicorn's WebSocket protocol with early UTF-8 checks and a cheaper path for sending text."""

import codecs
import time
from asyncio import Transport
from collections.abc import Awaitable, Callable, Generator
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets import http11
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request, Response
from websockets.protocol import State

from routing.asgi import EMPTY_QUERY
from routing.messages.identifiers import new_id, request_id
from routing.messages.validation import MAX_HEADER_BYTES
from routing.realtime.handshake import PINGS_EXTENSION
from routing.realtime.piecewise import PiecewiseParser

http11.MAX_LINE_LENGTH = MAX_HEADER_BYTES
"""The limits of handshakes are those of other requests."""

_decoder: Final = codecs.getincrementaldecoder("utf-8")
_VERSION: Final = "13"
PIECE_BYTES: Final = 2_048
"""Parsed at once of what was read: at most 341 frames."""
MAX_PINGS: Final = 100
"""From a client in a second."""
MAX_FRAGMENTS: Final = 10_000
"""The most fragments of one message: empty ones take memory, but do not count towards its size."""
_MALFORMED: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\nX-Request-ID: %b\r\n\r\n"
_ID: Final = "X-Request-ID"
_END_OF_HEAD: Final = b"\r\n\r\n"
_TEXT: Final = 0x81
"""The first byte of a text message in a single frame: FIN and the opcode (RFC 6455 section 5.2)."""


class WebSocket(WebSocketsSansIOProtocol):
    """Invalid UTF-8 closes the connection as it arrives, not when the message is complete (RFC 6455 section 8.1).

    What was read is parsed in pieces, the next one when the application has received the messages so far. Frames
    that a client sends before its handshake is answered, which it must not do (section 4.1), are parsed after it. While
    the client does not read, only its latest ping is answered (section 5.5.3).

    `send` writes a text message before it returns, whether it is awaited or not: the hub does not await it.
    """

    on_lost: Callable[[], None] | None = None
    """Called when the connection has ended."""
    pings = 0
    """Pings received, which are answered here. The application gets their number by an extension of the scope."""
    _text: codecs.IncrementalDecoder | None = None
    _pong = b""
    """The answer to the latest ping, until the client reads."""
    _recent_pings = 0
    _recent_since = 0.0
    _is_stopping = False
    _request_id = ""
    """Empty until the handshake has been read."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._send_response = self.conn.send_response
        self.conn.send_response = self._send_identified  # type: ignore[method-assign]  # it sends every response

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # of a TCP connection
        super().connection_made(transport)
        self._parser = PiecewiseParser(
            self.loop,
            self._parse,
            piece=PIECE_BYTES,
            is_held=self._holds_frames,
            is_closing=transport.is_closing,
            pause=self._pause_reading,
            resume=self._resume_reading,
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._parser.clear()
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def shutdown(self) -> None:
        """Close with 1012. A handshake is completed before: it may have reached a backend."""
        if self.handshake_complete:
            super().shutdown()
        else:
            self._is_stopping = True

    def resume_writing(self) -> None:
        super().resume_writing()
        pong, self._pong = self._pong, b""
        if pong and self.conn.state is State.OPEN and not self.transport.is_closing():
            self.transport.write(pong)

    # Parsing what the client sends.

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated and (end := data.find(_END_OF_HEAD)) >= 0:
            self._parse(data[: end + len(_END_OF_HEAD)])
            data = data[end + len(_END_OF_HEAD) :]
        if data:
            self._parser.add(data)

    def _holds_frames(self) -> bool:
        """Whether the handshake is not answered yet, or the application has messages to receive: after a close, it
        receives none.
        """
        is_unanswered = self.handshake_initiated and not self.handshake_complete
        return is_unanswered or (not self.queue.empty() and not self.close_sent)

    def _parse(self, piece: bytes) -> None:
        super().data_received(piece)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()

    async def receive(self) -> Any:
        message = await self.queue.get()
        if self.queue.empty():
            self._parser.release()
        return message

    def _pause_reading(self) -> None:
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def _resume_reading(self) -> None:
        if self.read_paused and not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    # What the application sends.

    def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override]  # not a coroutine
        if message["type"] == "websocket.accept":
            return self._accept(message)
        if message["type"] == "websocket.http.response.body":
            return self._deny(message)
        text = message.get("text")
        if text is None or message["type"] != "websocket.send" or self.close_sent or not self.handshake_complete:
            return super().send(message)
        if self.conn.state is not State.OPEN or self.initial_response is not None:
            return super().send(message)
        if self.transport.is_closing():  # uvloop raises then, and the hub has other subscribers to write to
            return _Written(self)
        payload = text.encode()
        self.transport.write(_header(len(payload)) + payload)
        return _Written(self)

    async def _accept(self, message: Any) -> None:
        await super().send(message)
        if self._is_stopping:
            self.shutdown()
        elif not self._holds_frames():
            self._parser.release()

    async def _deny(self, message: Any) -> None:
        """Send the body of a refusal, with which the handshake has ended: the base class logs an error otherwise."""
        await super().send(message)
        self.handshake_complete = not message.get("more_body", False)

    # What the client sends.

    def _send_identified(self, response: Response) -> None:
        """Send the response to the handshake, which bears its id as others do."""
        if _ID not in response.headers:
            response.headers[_ID] = self._request_id or new_id(time.time())
        self._send_response(response)

    def handle_connect(self, event: Request) -> None:
        self._identify(event)
        if event.headers.get_all("Sec-WebSocket-Version") != [_VERSION]:
            self._refuse_version(event)
            return
        super().handle_connect(event)
        if not self.close_sent:  # the application is about to start
            self.scope["extensions"][PINGS_EXTENSION] = {"count": lambda: self.pings}
            if event.path.find("?") == len(event.path) - 1:
                self.scope["extensions"][EMPTY_QUERY] = {}

    def _identify(self, event: Request) -> None:
        """Let the handshake have a well-formed id, its own or a new one: the application reads it there."""
        sent = event.headers.get_all(_ID)
        self._request_id = request_id(sent[0].encode("latin-1", "replace") if len(sent) == 1 else None, time.time())
        if sent:
            del event.headers[_ID]
        event.headers[_ID.lower()] = self._request_id  # names in ASGI are lower case

    def _refuse_handshake(self) -> None:
        """The handshake could not be parsed: it has a body, or too many or too long fields."""
        self.handshake_complete = self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()) or _MALFORMED % new_id(time.time()).encode())
        self.transport.close()

    def _refuse_version(self, event: Request) -> None:
        """Name the version that is supported, for the client to try again with (RFC 6455 section 4.4)."""
        response = self.conn.reject(HTTPStatus.UPGRADE_REQUIRED, f"The version of WebSocket must be {_VERSION}.\n")
        for name, value in (("Connection", "upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", _VERSION)):
            response.headers[name] = value
        self.request, self.response = event, response
        self.handshake_complete = self.close_sent = True
        self.conn.send_response(response)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def handle_ping(self) -> None:
        if self.close_sent:
            return
        self.pings += 1
        now = self.loop.time()
        if now - self._recent_since >= 1.0:
            self._recent_since, self._recent_pings = now, 0
        self._recent_pings += 1
        if self._recent_pings > MAX_PINGS:
            self._fail(CloseCode.POLICY_VIOLATION, "too many pings")
        elif self.writable.is_set():
            super().handle_ping()
        else:
            self._pong = b"".join(self.conn.data_to_send()) or self._pong

    def handle_text(self, event: Frame) -> None:
        self._text = _decoder()
        if self._is_text(event):
            super().handle_text(event)

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MAX_FRAGMENTS:
            self._fail(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        elif self._is_text(event):
            super().handle_cont(event)

    def handle_bytes(self, event: Frame) -> None:
        self._text = None
        super().handle_bytes(event)

    def _is_text(self, event: Frame) -> bool:
        if self._text is None:
            return True
        try:
            self._text.decode(bytes(event.data), event.fin)
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "invalid UTF-8")
            return False
        return True

    def _fail(self, code: CloseCode, reason: str) -> None:
        if not self.close_sent:
            self.conn.fail(code, reason)
            self.handle_parser_exception()


class _Written:
    """Awaits the end of back-pressure after a message was written."""

    __slots__ = ("_socket",)

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket

    def done(self) -> bool:
        return self._socket.writable.is_set()

    def __await__(self) -> Generator[Any, None, None]:
        if not self._socket.writable.is_set():
            yield from self._socket.writable.wait().__await__()


def _header(length: int) -> bytes:
    """The header of a server's frame, which is not masked."""
    if length < 126:
        return bytes((_TEXT, length))
    if length < 65_536:
        return bytes((_TEXT, 126)) + length.to_bytes(2, "big")
    return bytes((_TEXT, 127)) + length.to_bytes(8, "big")
