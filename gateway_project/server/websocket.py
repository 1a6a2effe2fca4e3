"""uvicorn's WebSocket protocol with early UTF-8 checks and a cheaper path for sending text."""

import codecs
from collections.abc import Awaitable, Callable, Generator
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import State

from routing.realtime.handshake import PINGS_EXTENSION

_decoder: Final = codecs.getincrementaldecoder("utf-8")
_VERSION: Final = "13"
_TEXT: Final = 0x81
"""The first byte of a text message in a single frame: FIN and the opcode (RFC 6455 section 5.2)."""


class WebSocket(WebSocketsSansIOProtocol):
    """Invalid UTF-8 closes the connection as it arrives, not when the message is complete (RFC 6455 section 8.1).

    `send` writes a text message before it returns, whether it is awaited or not: the hub does not await it.
    """

    on_lost: Callable[[], None] | None = None
    """Called when the connection has ended."""
    pings = 0
    """Pings received, which are answered here. The application gets their number by an extension of the scope."""
    _text: codecs.IncrementalDecoder | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.on_lost is not None:
            self.on_lost()

    def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override]  # not a coroutine
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

    def handle_connect(self, event: Request) -> None:
        if event.headers.get_all("Sec-WebSocket-Version") != [_VERSION]:
            self._refuse_version(event)
            return
        super().handle_connect(event)
        if not self.close_sent:  # the application is about to start
            self.scope["extensions"][PINGS_EXTENSION] = {"count": lambda: self.pings}

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
        self.pings += 1
        super().handle_ping()

    def handle_text(self, event: Frame) -> None:
        self._text = _decoder()
        if self._is_text(event):
            super().handle_text(event)

    def handle_cont(self, event: Frame) -> None:
        if self._is_text(event):
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
            self.conn.fail(CloseCode.INVALID_DATA, "invalid UTF-8")
            self.handle_parser_exception()
            return False
        return True


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
