"""WebSockets as uvicorn and `websockets` frame them, and what those leave to be said."""

import codecs

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

_decoder = codecs.getincrementaldecoder("utf-8")


class WebSocket(WebSocketsSansIOProtocol):
    """Text that is none is refused as it comes, and not first when the message is whole (RFC 6455 section 8.1)."""

    _text: codecs.IncrementalDecoder | None = None

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
            self.conn.fail(CloseCode.INVALID_DATA, "this is no UTF-8")
            self.handle_parser_exception()
            return False
        return True
