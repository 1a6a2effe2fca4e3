"""`/ws/events/`: a Channels consumer that connects a WebSocket to a session and sends its subscriber's queue."""

import asyncio
import contextlib
from typing import Any, ClassVar, Final, cast

from channels.generic.websocket import AsyncWebsocketConsumer

from routing import runtime
from routing.asgi import Scope, Send
from routing.errors import GatewayError, RateLimited, Unauthenticated
from routing.exchange import Exchange
from routing.pipeline import Gateway
from routing.realtime import handshake
from routing.realtime.close_codes import CloseCode
from routing.realtime.event import Frame
from routing.realtime.handshake import Handshake
from routing.realtime.hub import ConnectionLimitExceeded
from routing.realtime.service import Realtime
from routing.realtime.session import Session
from routing.realtime.subscriber import Closed, PendingSend

MAX_REASON_CHARACTERS: Final = 100


class EventsConsumer(AsyncWebsocketConsumer):
    """Uses no channel of its own: commands come over one channel per worker (control.py)."""

    channel_layer_alias: ClassVar[str] = "none, by intent"

    async def connect(self) -> None:
        current = runtime.current()
        realtime = current.realtime
        assert isinstance(realtime, Realtime)  # noqa: S101 - routing.runtime only knows its `publish`
        self._realtime = realtime
        self._session: Session | None = None
        self._writer: asyncio.Task[None] | None = None
        gateway, shake = current.gateway, handshake.begin(current.gateway, cast(Scope, self.scope))
        exchange = shake.exchange
        try:
            await self.admit(gateway, exchange)
            self._session = self._open_session(shake)
        except Unauthenticated as error:
            gateway.account(exchange, int(error.status), error.code)
            await self.accept(shake.subprotocol)  # scripts in browsers see a close code, but not an HTTP status
            await self.close(CloseCode.UNAUTHENTICATED, error.detail[:MAX_REASON_CHARACTERS])
        except GatewayError as error:
            await self._deny(gateway, exchange, error, error.code)
        except ConnectionLimitExceeded as error:
            await self._deny(gateway, exchange, RateLimited(str(error), retry_after=60.0), "too_many_connections")
        else:
            gateway.account(exchange, 101)
            await self.accept(shake.subprotocol)
            self._writer = asyncio.create_task(self._write(self._session))

    async def _deny(self, gateway: Gateway, exchange: Exchange, error: GatewayError, code: str) -> None:
        response = gateway.refusal(exchange, error)
        gateway.account(exchange, response.status, code)
        if not await handshake.send_denial(response, cast(Scope, self.scope), cast(Send, self.base_send)):
            await self.close()

    async def admit(self, gateway: Gateway, exchange: Exchange) -> None:
        """Steps 2 and 3: rate limit, and the caller if the handshake has a credential. Raises GatewayError.

        Cookies are ignored, so that a foreign page cannot use the client's session (RFC 6455 section 10.2).
        """
        handshake.check_origin(exchange.request.headers, self._realtime.origins)
        await gateway.admit(exchange, anonymous=True)

    async def websocket_receive(self, message: Any) -> None:
        if self._session is not None:
            await self._session.handle(message["text"] if message.get("text") is not None else message.get("bytes"))

    async def disconnect(self, code: int) -> None:
        """End the session. The server reports 1005 both for a protocol error and for a close without a code.

        Closing with 1002 informs the former; after the latter nothing more is sent.
        """
        await self._leave()
        if code == CloseCode.NO_STATUS:
            with contextlib.suppress(Exception):
                await self.close(CloseCode.PROTOCOL_ERROR)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Return normally if the gateway itself has ended the connection by cancelling this task."""
        try:
            await super().__call__(scope, receive, send)
        except asyncio.CancelledError:
            session = self._session
            if session is None or not session.subscriber.closing:
                raise
        finally:
            await self._leave()

    def _open_session(self, shake: Handshake) -> Session:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        self._task, exchange = task, shake.exchange
        return self._realtime.open(self._abort, exchange.request, exchange.caller, exchange.proof)

    async def _write(self, session: Session) -> None:
        """Send the queue as fast as the client reads.

        If the server starts a send before it is awaited, it becomes the subscriber's sink and gets events directly.
        """
        subscriber = session.subscriber
        try:
            while True:
                item = await subscriber.next()
                await subscriber.drain()
                pending = self._begin_send(item.text if isinstance(item, Frame) else item)
                if isinstance(pending, PendingSend):
                    subscriber.sink = self._begin_send
                await pending
                subscriber.sending_since = None
        except Closed as closed:
            with contextlib.suppress(Exception):
                await subscriber.drain()
                await self.close(closed.code, closed.reason)
        except Exception:  # noqa: BLE001 - servers raise different errors when the client has gone
            subscriber.close(CloseCode.ABNORMAL, "gone")
        self._task.cancel()

    def _abort(self) -> None:
        """End a connection whose client reads nothing any more.

        Without a close message, the server would keep the connection and its buffers for as long as the client does.
        The message is not awaited: it stays in the server until the client reads or disconnects.
        """
        session = self._session
        if session is not None and session.subscriber.sink is not None:
            closed = session.subscriber.closing or Closed(CloseCode.INTERNAL_ERROR, "aborted")
            cast(Send, self.base_send)({"type": "websocket.close", "code": closed.code, "reason": closed.reason})
        self._task.cancel()

    def _begin_send(self, text: str) -> Any:
        session = self._session
        assert session is not None  # noqa: S101 - only called for its subscriber's messages
        session.subscriber.sending_since = self._realtime.timer()
        return cast(Send, self.base_send)({"type": "websocket.send", "text": text})

    async def _leave(self) -> None:
        session, writer = getattr(self, "_session", None), getattr(self, "_writer", None)
        if session is not None:
            self._realtime.leave(session)
        if writer is not None:
            writer.cancel()
