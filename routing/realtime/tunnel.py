"""A WebSocket between a client and a backend: messages in both directions, bounded, until either side closes it."""

import asyncio
import contextlib
from collections.abc import Callable
from math import inf
from typing import Final, NamedTuple

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from routing.asgi import Receive, Send
from routing.http import Headers
from routing.realtime.close_codes import NEVER_SENT, CloseCode

MAX_TUNNEL_MESSAGE_BYTES: Final = 1_048_576
"""The largest message passed on, in either direction."""
CHECK_SECONDS: Final = 1.0


class CloseReason(NamedTuple):
    """How both sides are closed. `client_code` replaces `code` for the client."""

    code: int
    reason: str
    client_code: int | None = None


_GONE: Final = CloseReason(CloseCode.GOING_AWAY, "gone")


class Tunnel:
    """`check` is called once a second and returns why the tunnel is to be closed, or None. `timer` is monotonic.
    `pings` is the number of pings received so far from both sides, which the gateway answers.

    `received` and `sent` are the bytes of messages from and to the client so far.

    It closes after `idle_timeout` seconds without a message or a ping, and `total_timeout` seconds after it has opened.
    """

    def __init__(
        self,
        backend: ClientConnection,
        receive: Receive,
        send: Send,
        *,
        check: Callable[[], CloseReason | None],
        timer: Callable[[], float],
        idle_timeout: float,
        pings: Callable[[], int],
        total_timeout: float = inf,
    ) -> None:
        self._backend = backend
        self._receive = receive
        self._send = send
        self._check = check
        self._timer = timer
        self._idle_timeout = idle_timeout
        self._pings = pings
        self._seen_pings = 0
        self._total_timeout = total_timeout
        self._opened_at = self._last_activity_at = timer()
        self.received = self.sent = 0
        self._closing: asyncio.Future[CloseReason] = asyncio.get_running_loop().create_future()
        self._end = CloseReason(CloseCode.INTERNAL_ERROR, "the gateway failed")

    async def run(self, subprotocol: str | None, headers: Headers) -> None:
        """Accept the client's handshake with these header fields, pass messages on until either side or the gateway
        ends it, and close the client's side. `close_backend` must follow.
        """
        tasks: list[asyncio.Future[CloseReason]] = [self._closing]
        try:
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
            work = (self._client_to_backend(), self._backend_to_client(), self._check_periodically())
            tasks += [asyncio.create_task(part) for part in work]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if all(part.exception() for part in done):
                # Sending fails as soon as the client has closed; its close code may still have to be received.
                done, _ = await asyncio.wait(tasks[:2], timeout=CHECK_SECONDS)
            self._end = next((part.result() for part in done if not part.exception()), _GONE)
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CHECK_SECONDS):  # a client that does not read holds up what is sent to it
                    code = self._end.client_code or self._end.code
                    await self._send({"type": "websocket.close", "code": code, "reason": self._end.reason})

    def close(self, reason: CloseReason) -> None:
        """Let `run` close both sides, without waiting for the next check."""
        if not self._closing.done():
            self._closing.set_result(reason)

    async def close_backend(self) -> None:
        """Close the backend's side as the client's, and wait for its close frame, for ten seconds at most."""
        try:
            await self._backend.close(self._end.code, self._end.reason)
        except Exception:  # noqa: BLE001 - a code that may not be sent, or a connection already lost
            self._backend.transport.abort()

    async def _client_to_backend(self) -> CloseReason:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return _client_closed(message.get("code") or CloseCode.NORMAL, message.get("reason") or "")
            content: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
            if _is_too_big(content):
                return CloseReason(CloseCode.MESSAGE_TOO_BIG, "message too big")
            self._last_activity_at = self._timer()
            try:
                await self._backend.send(content)
            except ConnectionClosed as closed:
                return _backend_closed(closed)
            self.received += _size(content)

    async def _backend_to_client(self) -> CloseReason:
        while True:
            try:
                content = await self._backend.recv()
            except ConnectionClosed as closed:
                return _backend_closed(closed)
            self._last_activity_at = self._timer()
            kind = "text" if isinstance(content, str) else "bytes"
            await self._send({"type": "websocket.send", kind: content})
            self.sent += _size(content)

    async def _check_periodically(self) -> CloseReason:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            end = self._check()
            if end is not None:
                return end
            pings = self._pings()
            if pings != self._seen_pings:
                self._seen_pings, self._last_activity_at = pings, self._timer()
            if self._timer() - self._last_activity_at > self._idle_timeout:
                return CloseReason(CloseCode.TIMEOUT, "idle")
            if self._timer() - self._opened_at > self._total_timeout:
                return CloseReason(CloseCode.TIMEOUT, "open for too long")


def _is_too_big(content: str | bytes) -> bool:
    """Whether a message has more bytes than may be passed on. Only long text that is not ASCII is encoded for this."""
    if isinstance(content, str) and not content.isascii() and len(content) > MAX_TUNNEL_MESSAGE_BYTES // 4:
        return len(content.encode()) > MAX_TUNNEL_MESSAGE_BYTES
    return len(content) > MAX_TUNNEL_MESSAGE_BYTES


def _size(content: str | bytes) -> int:
    return len(content) if isinstance(content, bytes) or content.isascii() else len(content.encode())


def _client_closed(code: int, reason: str) -> CloseReason:
    """A client without a code (see EventsConsumer.disconnect) may have broken the protocol."""
    if code in NEVER_SENT:
        return CloseReason(CloseCode.GOING_AWAY, "", client_code=CloseCode.PROTOCOL_ERROR)
    return CloseReason(code, reason)


def _backend_closed(closed: ConnectionClosed) -> CloseReason:
    """A message over the limit has closed the backend's connection with 1009, whether or not the backend replied."""
    if closed.sent is not None and closed.sent.code == CloseCode.MESSAGE_TOO_BIG and not closed.rcvd_then_sent:
        return CloseReason(CloseCode.MESSAGE_TOO_BIG, "message too big")
    if closed.rcvd is None:
        return CloseReason(CloseCode.BAD_GATEWAY, "the service closed the connection without a close frame")
    code = closed.rcvd.code
    return CloseReason(CloseCode.NORMAL if code in NEVER_SENT else code, closed.rcvd.reason)
